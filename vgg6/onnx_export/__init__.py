"""A trained network as an ONNX file: its versions, and its int8 form."""
