"""``python -m embedworks`` is the command line."""

from embedworks.cli import main

if __name__ == "__main__":
    main()
