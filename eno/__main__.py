"""``python -m eno`` is the same as ``eno``."""

from eno.cli import main

if __name__ == "__main__":
    main()
