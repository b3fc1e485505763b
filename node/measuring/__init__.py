"""Sends measuring frames over links and sees what comes out, without any code of what configures them."""
