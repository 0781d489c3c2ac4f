"""How issuers are replaced without a broken handshake.

``authority_set`` holds the roots and issuers with their states, and the pure rules by which they
change; ``gates`` says what must hold before a step; ``controller`` takes the steps.
"""
