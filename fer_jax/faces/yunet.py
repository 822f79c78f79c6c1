"""The file of YuNet's weights, which the registry looks for and the download brings."""

FILE = "face_detection_yunet_2023mar.onnx"
