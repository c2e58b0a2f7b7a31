"""`python -m agora` is `agora`."""

from agora.cli import main

if __name__ == "__main__":
    main()
