"""What a model should be better than: subjects that are made from training dialogues within seconds."""
