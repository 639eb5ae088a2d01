"""How one becomes the other: a golden graph and a hardware configuration in, a Program out."""
