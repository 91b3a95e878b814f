"""The mitmproxy addons: each reads the flow, calls one pure function, writes the flow. `bundle` orders
them.
"""
