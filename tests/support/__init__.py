"""Scripted LMs, builders and servers that tests share."""
