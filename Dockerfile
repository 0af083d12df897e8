# The main job, `make search`: a search on the digits and an evaluation. Without a GPU:
#   docker build -t nas . && docker run --rm -v "$PWD/outputs:/outputs" nas
# With one, torch's own wheels bring CUDA along:
#   docker build --build-arg TORCH_INDEX=https://pypi.org/simple -t nas-cuda .
#   docker run --rm --gpus all -v "$PWD/outputs:/outputs" nas-cuda nas-search method=drnas hardware=gpu
FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install -y --no-install-recommends g++ git && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision
WORKDIR /app
COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY nas nas
COPY conf conf
RUN pip install --no-cache-dir .
ENV NAS_OUTPUTS=/outputs
WORKDIR /outputs
CMD ["sh", "-c", "nas-search experiment=start/digits hydra.run.dir=/outputs/search && nas-evaluate experiment=start/evaluate_digits genotype=/outputs/search hydra.run.dir=/outputs/evaluate"]
