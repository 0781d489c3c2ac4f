"""Getting a certificate as a proxy would, and verifying it as that proxy would.

``requests`` makes keys and CSRs in the clients' shapes, ``clients`` speaks the two wires and reads the answers,
``verdict`` is what each client demands, ``delivery`` repeats, logs and writes down.
"""
