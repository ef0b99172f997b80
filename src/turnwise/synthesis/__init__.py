"""Makes dialogues with models, and judges and sifts dialogues whoever made them."""
