"""The only room that knows TensorFlow: loading trained models, bridging, exporting."""
