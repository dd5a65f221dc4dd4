"""Networks: backbones, neck, attribute heads (ALM), attribute re-weighting (AWM)."""
