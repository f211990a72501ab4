import { writeFileSync } from "node:fs";
import { gasPage, measureGas } from "@proof-of-compute/tests/support/gas";

writeFileSync(new URL("../docs/reference/gas.md", import.meta.url), gasPage(await measureGas()));
