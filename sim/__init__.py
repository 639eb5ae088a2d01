"""What happens: Programs run on the RTL, in the cycle model, or in an interpreter of the commands."""
