"""What is built: Amaranth components, their configuration, the command encoding, Verilog export."""
