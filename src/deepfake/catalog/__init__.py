"""What a collection of videos holds: who is seen in it, and answers to questions in SQL."""
