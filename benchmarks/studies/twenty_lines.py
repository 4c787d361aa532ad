"""The simplest possible server; `serve_beside.py` starts it."""

import os

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from fastapi import FastAPI, Request, Response

app = FastAPI()
interpreter = Interpreter(os.environ["MODEL"], num_threads=os.cpu_count())
interpreter.allocate_tensors()
model_input, model_output = interpreter.get_input_details()[0], interpreter.get_output_details()[0]


@app.post("/segment")
async def segment(request: Request) -> Response:
    """A photo to its label map; for uint8 models that were trained on 0 to 1."""
    frame = cv2.imdecode(np.frombuffer(await request.body(), np.uint8), cv2.IMREAD_COLOR)
    if frame is None:
        return Response(status_code=422)
    pixels = cv2.resize(frame, model_input["shape"][2:0:-1].tolist(), interpolation=cv2.INTER_AREA)
    interpreter.set_tensor(model_input["index"], cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)[np.newaxis])
    interpreter.invoke()
    scores = cv2.resize(interpreter.get_tensor(model_output["index"])[0], frame.shape[1::-1])
    labels = scores.argmax(axis=2).astype(np.uint8)
    return Response(cv2.imencode(".png", labels)[1].tobytes(), media_type="image/png")
