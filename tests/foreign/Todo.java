import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.Executors;

/** The server of v1.0, written with Java's own HTTP server. */
class Todo {
    static final Map<String, String> tasks = new ConcurrentSkipListMap<>(Map.of(
        "task_01", "see someone", "task_02", "read book", "task_03", "play basketball"));

    static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
    }

    static Map<String, String> form(String body) {
        Map<String, String> fields = new HashMap<>();
        for (String part : body.split("&")) {
            String[] pair = part.split("=", 2);
            if (pair.length == 2) {
                fields.put(URLDecoder.decode(pair[0], StandardCharsets.UTF_8), URLDecoder.decode(pair[1], StandardCharsets.UTF_8));
            }
        }
        return fields;
    }

    static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] body = (text + "\r\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/html; charset=utf-8");
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    static void handle(HttpExchange exchange) throws IOException {
        String id = exchange.getRequestURI().getPath().replaceFirst("^/", "");
        byte[] body;
        try {
            body = exchange.getRequestBody().readAllBytes();
        } catch (IOException error) {
            exchange.close();
            return;
        }
        if (exchange.getRequestMethod().equals("GET") && id.isEmpty()) {
            StringBuilder page = new StringBuilder();
            tasks.forEach((key, value) -> page.append("<p>" + escape(key + ": " + value) + "</p>\n"));
            page.append("<form method=\"post\"><input name=\"task_id\"><input name=\"value\"></form>");
            answer(exchange, 200, page.toString());
        } else if (exchange.getRequestMethod().equals("GET")) {
            String text = tasks.get(id);
            answer(exchange, text == null ? 404 : 200, text == null ? "no key match" : escape(text));
        } else {
            Map<String, String> fields = form(new String(body, StandardCharsets.UTF_8));
            if (!id.isEmpty() || fields.size() != 2 || !fields.containsKey("task_id") || !fields.containsKey("value")) {
                answer(exchange, 400, "error: say GET /task_id, or POST / with a task_id and a value");
                return;
            }
            tasks.put(fields.get("task_id"), fields.get("value"));
            exchange.getResponseHeaders().set("Location", "/");
            answer(exchange, 303, "submit success");
        }
    }

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(System.getenv("PORT"));
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/", Todo::handle);
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }
}
