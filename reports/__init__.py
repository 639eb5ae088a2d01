"""What it means: cycles, bandwidth, agreement, as tables, plots and pages."""
