"""The ToDo server of v1.0, written with Flask."""

from flask import Flask, render_template_string, request
from markupsafe import escape

PAGE = """<!doctype html>
<title>ToDo</title>
{% for task_id, value in tasks %}<p>{{ task_id }}: {{ value }}
{% endfor %}
<form method="post"><input name="task_id"> <input name="value"> <button>POST</button></form>"""

app = Flask(__name__)
todo_list = {
    "task_01": "see someone",
    "task_02": "read book",
    "task_03": "play basketball",
}


@app.get("/")
def show_all():
    return render_template_string(PAGE, tasks=sorted(todo_list.items()))


@app.get("/<task_id>")
def show(task_id):
    if task_id not in todo_list:
        return "no key match", 404
    return escape(todo_list[task_id])  # Flask escapes in templates only


@app.post("/")
def store():
    todo_list[request.form["task_id"]] = request.form["value"]
    return "submit success", 303, {"Location": "/"}
