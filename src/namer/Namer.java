import java.net.URI;
import java.util.Map;
import java.util.function.Function;

/** {@code GET /namer?address=https://docs.example.org/guides/Getting-Started.html} answers {@code getting-started}. */
public final class Namer implements Function<Map<String, String>, String> {
    @Override
    public String apply(Map<String, String> query) {
        URI address;
        try {
            address = URI.create(query.getOrDefault("address", ""));
        } catch (IllegalArgumentException error) {
            return "no address: " + error.getMessage();
        }
        if (address.getHost() == null) {
            return "no address: ask with ?address=https://...";
        }
        String[] folders = address.getPath().split("/");
        for (int i = folders.length - 1; i >= 0; i--) {
            String name = name(folders[i].replaceFirst("\\.[a-z]+$", ""));
            if (!name.isEmpty() && !name.equals("index")) {
                return name;
            }
        }
        return name(address.getHost().replaceFirst("^www\\.", "").replaceFirst("\\..*", ""));
    }

    private static String name(String text) {
        return text.toLowerCase().replaceAll("[^a-z0-9]+", "-").replaceAll("^-|-$", "");
    }
}
