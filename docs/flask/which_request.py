"""What is behind the one global `request`?"""

from flask import Flask, request

app = Flask(__name__)
names, objects = set(), []


@app.get("/<client>")
def show(client):
    names.add(id(request))
    # It is kept, or Python could put the next request at the same address.
    objects.append(request._get_current_object())
    different = {id(each) for each in objects}
    return f"{client}: names {len(names)}, requests {len(different)}"
