"""What happens: Programs run on the RTL."""
