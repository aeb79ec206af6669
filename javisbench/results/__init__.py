"""Reading run folders, and what follows from them: values, tables, verdicts, the published record."""
