"""What other machines would cost: many configurations, the same networks, and which of them nothing beats."""
