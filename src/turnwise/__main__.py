"""`python -m turnwise`, for launchers that start modules."""

from turnwise.cli.main import main

if __name__ == "__main__":
    main()
