"""What is behind the one global `request`?"""

from flask import Flask, request

app = Flask(__name__)
names, requests = set(), []


@app.post("/<client>")
def show(client):
    names.add(id(request))
    requests.append(request._get_current_object())
    before = request.path
    request.get_data()  # waits for the body; other threads handle other requests meanwhile
    different = {id(each) for each in requests}
    return f"{before}, and still {request.path}: {len(names)} name, {len(different)} requests"
