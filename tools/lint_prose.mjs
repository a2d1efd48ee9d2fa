// Called by lint_prose.py: the folder of Harper, its rules with commas between, and pages. Prints a JSON line for each finding.
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, chosen, ...pages] = process.argv.slice(2);
const library = (name) => import(pathToFileURL(`${folder}/node_modules/harper.js/dist/${name}.js`));
const { LocalLinter, Dialect } = await library("index");
const { binary } = await library("binary");
const linter = new LocalLinter({ binary, dialect: Dialect.British });
await linter.setup();
const rules = await linter.getDefaultLintConfig();
for (const rule of Object.keys(rules)) rules[rule] = chosen.split(",").includes(rule);
await linter.setLintConfig(rules);
for (const page of pages) {
  const text = fs.readFileSync(page, "utf8");
  for (const found of await linter.lint(text, { language: "markdown" })) {
    const line = text.slice(0, found.span().start).split("\n").length;
    console.log(JSON.stringify([page, line, found.get_problem_text(), found.message()]));
  }
}
