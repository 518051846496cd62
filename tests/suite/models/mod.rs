//! Models beyond what .slt files can ask: other programs that run them, damaged files, servers that die.

mod artifacts;
mod onnx;
