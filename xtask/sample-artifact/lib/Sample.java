import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URL;
import java.net.URLClassLoader;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.ToolProvider;

/**
 * A stand-in for the framework where its release cannot be had: it serves HTTP, lists plugins and stops as the
 * framework does, and nothing else of it. Run from source, so the artifact needs no build.
 *
 * <p>Each file in {@code plugins/} (the system's) and in the dynamic plugins' folder (the user's) is a plugin. One that
 * is Java source is compiled on the start: its class takes the query of {@code GET /NAME} and gives the answer.
 */
public final class Sample {
    /** What {@code conf/fitframework.yml} says. */
    private static final Map<String, String> CONFIGURED = new HashMap<>();
    private static final Map<String, Function<Map<String, String>, String>> ANSWERS = new HashMap<>();

    private record Plugin(String group, String name, String version, String category, int level) {
        String json() {
            return "{\"group\":%s,\"name\":%s,\"version\":%s,\"category\":%s,\"level\":%d}".formatted(
                    quoted(group), quoted(name), quoted(version), quoted(category), level);
        }
    }

    public static void main(String[] arguments) throws IOException {
        for (String argument : arguments) {
            int at = argument.indexOf('=');
            if (at < 1) {
                System.err.println("not key=value: " + argument);
                System.exit(1);
            }
            System.setProperty(argument.substring(0, at), argument.substring(at + 1));
        }
        Path home = Path.of(setting("sample.home", "."));
        configure(home.resolve("conf/fitframework.yml"));
        int port = Integer.parseInt(setting("server.http.port", "8080"));
        Path dynamic = Path.of(setting("plugin.fit.dynamic.plugin.directory", "."));

        List<Plugin> plugins = new ArrayList<>(plugins(home.resolve("plugins"), "system", 1));
        plugins.addAll(plugins(dynamic, "user", 4));

        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        String listed = plugins.stream().map(Plugin::json).collect(Collectors.joining(",", "[", "]"));
        server.createContext("/", exchange -> {
            String path = exchange.getRequestURI().getPath();
            var plugin = ANSWERS.get(path.substring(1));
            if (path.equals("/actuator/plugins")) {
                answer(exchange, 200, "application/json", listed);
            } else if (plugin != null) {
                answer(exchange, 200, "text/plain; charset=utf-8", plugin.apply(query(exchange)) + "\n");
            } else {
                answer(exchange, 404, "text/plain; charset=utf-8", "there is no " + path + "\n");
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            server.stop(1);
            log("info", "sample stopped");
        }));
        server.start();
        log("info", "sample started, worker " + setting("worker.id", "default-worker-id")
                + ", port " + port + ", plugins " + plugins.size());
    }

    /** A system property, else the configuration, else the default: the framework's order. */
    private static String setting(String name, String otherwise) {
        String value = System.getProperty(name, CONFIGURED.get(name));
        return value == null || value.isBlank() ? otherwise : value;
    }

    /** Reads as much of YAML as the entrypoint writes: nested keys and plain or quoted values. */
    private static void configure(Path file) throws IOException {
        List<String> above = new ArrayList<>();
        for (String line : Files.exists(file) ? Files.readAllLines(file) : List.<String>of()) {
            String[] sides = line.strip().split(":", 2);
            if (sides.length == 2 && !sides[0].startsWith("#")) {
                int depth = (line.length() - line.stripLeading().length()) / 2;
                above.subList(Math.min(depth, above.size()), above.size()).clear();
                above.add(sides[0]);
                CONFIGURED.put(String.join(".", above), sides[1].strip().replace("'", ""));
            }
        }
    }

    private static void log(String level, String text) {
        List<String> levels = List.of("trace", "debug", "info", "warn", "error");
        if (levels.indexOf(level) >= levels.indexOf(setting("log4j2.level", "info"))) {
            System.out.println("[" + level + "] " + text);
        }
    }

    private static List<Plugin> plugins(Path folder, String category, int level) throws IOException {
        List<Path> files;
        try (Stream<Path> entries = Files.list(folder)) {
            files = entries.filter(Files::isRegularFile)
                    .filter(file -> !file.getFileName().toString().startsWith("."))
                    .sorted().toList();
        }
        String version = System.getenv().getOrDefault("FIT_VERSION", "0");
        List<Plugin> plugins = new ArrayList<>();
        for (Path file : files) {
            String name = file.getFileName().toString().replaceFirst("\\.[^.]*$", "");
            plugins.add(new Plugin("sample", name, version, category, level));
            if (file.toString().endsWith(".java")) {
                ANSWERS.put(name.toLowerCase(), compiled(file, name));
            }
            log("debug", "plugin " + name + " from " + file);
        }
        return plugins;
    }

    /** The class NAME of NAME.java, as a function of the query. A plugin that does not compile ends the start. */
    @SuppressWarnings("unchecked")
    private static Function<Map<String, String>, String> compiled(Path file, String name) throws IOException {
        Path classes = Files.createTempDirectory("sample");
        var messages = new ByteArrayOutputStream();
        int status = ToolProvider.getSystemJavaCompiler()
                .run(null, messages, messages, "-d", classes.toString(), file.toString());
        if (status != 0) {
            throw new IOException("plugin " + file + " does not compile:\n" + messages);
        }
        try {
            var loader = new URLClassLoader(new URL[] {classes.toUri().toURL()});
            return (Function<Map<String, String>, String>) loader.loadClass(name).getDeclaredConstructor().newInstance();
        } catch (ReflectiveOperationException error) {
            throw new IOException("plugin " + file + " has no class " + name + " that can be made", error);
        }
    }

    private static Map<String, String> query(HttpExchange exchange) {
        Map<String, String> query = new HashMap<>();
        String raw = exchange.getRequestURI().getRawQuery();
        for (String pair : raw == null ? new String[0] : raw.split("&")) {
            String[] sides = pair.split("=", 2);
            query.put(decoded(sides[0]), sides.length < 2 ? "" : decoded(sides[1]));
        }
        return query;
    }

    private static String decoded(String text) {
        return URLDecoder.decode(text, StandardCharsets.UTF_8);
    }

    private static void answer(HttpExchange exchange, int status, String type, String text) throws IOException {
        byte[] body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.sendResponseHeaders(status, body.length);
        try (var out = exchange.getResponseBody()) {
            out.write(body);
        }
    }

    private static String quoted(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ') {
                quoted.append("\\u%04x".formatted((int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
