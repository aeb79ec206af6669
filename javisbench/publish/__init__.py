"""Results for others: exports, archives and their verification, data sets, the reference evaluation's file."""
