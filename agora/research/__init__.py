"""Many runs, and what can be learnt from them: the stylised facts of a market."""
