"""What a user would write instead, each a process of its own and as short as such programs are."""
