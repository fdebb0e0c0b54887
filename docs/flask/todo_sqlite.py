"""The same app with its list in a file, which all processes of this machine share."""

import contextlib
import sqlite3

from flask import Flask, g, render_template_string, request
from markupsafe import escape
from todo import PAGE
from todo import todo_list as first_tasks

app = Flask(__name__)


def connect():
    return sqlite3.connect("todo.db", isolation_level=None)  # each command is a transaction


with contextlib.closing(connect()) as database:
    database.execute("CREATE TABLE IF NOT EXISTS todo (task_id PRIMARY KEY, value)")
    database.executemany("INSERT OR IGNORE INTO todo VALUES (?, ?)", first_tasks.items())


@app.before_request
def open_database():
    g.database = connect()  # g is new for each request, as request is


@app.teardown_request
def close_database(_error):
    g.database.close()


@app.get("/")
def show_all():
    tasks = g.database.execute("SELECT task_id, value FROM todo ORDER BY task_id").fetchall()
    return render_template_string(PAGE, tasks=tasks)


@app.get("/<task_id>")
def show(task_id):
    found = g.database.execute("SELECT value FROM todo WHERE task_id = ?", [task_id]).fetchone()
    if found is None:
        return "no key match", 404
    return escape(found[0])


@app.post("/")
def store():
    # The ? keep what a client sends apart from the SQL, as escape() keeps it apart from the HTML.
    task = request.form["task_id"], request.form["value"]
    g.database.execute("INSERT OR REPLACE INTO todo VALUES (?, ?)", task)
    return "submit success", 303, {"Location": "/"}
