"""The fast twins of the definitions in `sam_dash.maths`, under the same names."""
