"""The link model in the path of real packets, for kernels without netem.

`relay` joins two interfaces of a link's namespace (AF_PACKET); `nfqueue` shapes what one existing
interface receives. Both run the very model of the simulator, carry any protocol, and are steered through a
Unix socket (`client`).
"""
