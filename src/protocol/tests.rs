//! The parts of a connection that need no service: negotiation, waiting and flow.
