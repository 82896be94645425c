"""The paper's tables and figures on public banks of recorded outputs, without a call."""
