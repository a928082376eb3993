"""The figures of the design, each beside a limit or a naive version measured in the same run: `make bench`."""
