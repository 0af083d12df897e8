"""`python -m nas.predict`: a trained network says what is on pictures, or how a text goes on."""

from nas.running.config import command

main = command("predict")

if __name__ == "__main__":
    main()
