"""The theory of m-USAM on problems so small that it is exact or cheap. NumPy alone: pages compute it live.

Luo, Harandi, Phung & Le, "Unveiling m-Sharpness Through the Structure of Stochastic Gradient Noise", arXiv:2509.18001.
"""
