"""Tables of one or several runs, their exports, and the static leaderboard site."""
