"""The cells of NAS-Bench-201."""

from nas.spaces.nasbench201.space import NasBench201Space

__all__ = ["NasBench201Space"]
