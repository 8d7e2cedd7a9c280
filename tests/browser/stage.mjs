// What both flows stand on: a browser, a page that tells every error of its own, steps with names, and a line to the Go
// test that owns the panel. Nothing here sleeps: every wait is for something a person could see.
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const { BROWSER_UI, BROWSER_PROGRAM, BROWSER_SHOTS, BROWSER_ALWAYS } = process.env;
const dashboards = createRequire(join(BROWSER_UI, 'package.json'));
const { chromium } = dashboards('playwright-core');
const axe = dashboards('axe-core').source;

const flags = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const patience = 20_000;

/** Runs a flow with a page of its own; ends the process with 0 or, with pictures and the reason, with 1. */
export async function play(name, flow) {
  const browser = await chromium.launch({ executablePath: BROWSER_PROGRAM, args: flags, chromiumSandbox: false, timeout: 60_000 });
  const stage = await set(browser, name);
  try {
    await flow(stage);
    stage.noErrors();
  } catch (error) {
    await stage.picture('failed').catch(() => {});
    console.log(`failed in "${stage.current}": ${error.stack ?? error}`);
    console.log(`at ${stage.page.url()}\n${await stage.page.locator('body').innerText().catch(() => '')}`);
    for (const said of stage.errors) console.log(`browser: ${said}`);
    process.exitCode = 1;
  }
  await browser.close();
  lines.close();
}

async function set(browser, name) {
  const context = await browser.newContext({ locale: 'en-US', viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
  context.setDefaultTimeout(patience);
  const errors = [];
  // Chromium says so when an interface of the machine comes or goes, as those of containers do.
  const allowed = [/ERR_NETWORK_CHANGED/];
  const note = (said) => {
    if (!allowed.some((pattern) => pattern.test(said))) errors.push(said);
  };
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const page = await context.newPage();
  watch(page, note);
  let pictures = 0;
  const stage = {
    page,
    context,
    errors,
    current: '',
    /** A named part of the flow; how long it took is printed. */
    async step(what, act) {
      stage.current = what;
      const began = performance.now();
      await act();
      stage.noErrors();
      console.log(`${what}: ${Math.round(performance.now() - began)} ms`);
      if (BROWSER_ALWAYS) await stage.picture(what);
    },
    /** What the browser complains about inside act is part of the scene when it matches. */
    async expecting(pattern, act) {
      allowed.push(pattern);
      await act();
      allowed.splice(allowed.indexOf(pattern), 1);
    },
    noErrors() {
      if (errors.length > 0) throw new Error(`the browser reported ${errors.length} errors`);
    },
    async picture(what) {
      mkdirSync(BROWSER_SHOTS, { recursive: true });
      pictures++;
      const file = join(BROWSER_SHOTS, `${name}-${String(pictures).padStart(2, '0')}-${what.replaceAll(/\W+/g, '-')}.png`);
      await page.screenshot({ path: file, fullPage: true });
      if (what === 'failed') console.log(`picture: ${file}`);
    },
    /** Fails on what axe-core finds wrong with the page as it stands. */
    async accessible(where) {
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      const told = found.violations.map(
        (each) => `${each.id}: ${each.help}\n  ${each.nodes.map((node) => `${node.html}\n  ${node.failureSummary}`).join('\n  ')}`,
      );
      if (told.length > 0) throw new Error(`${where} is not accessible:\n${told.join('\n')}`);
    },
  };
  return stage;
}

function watch(page, note) {
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') note(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => note(`${error.stack ?? error}`));
}

const lines = createInterface({ input: process.stdin });
const answers = lines[Symbol.asyncIterator]();

/** Asks the Go test to do something to the panel, and waits until it is done. */
export async function ask(what) {
  console.log(`ask: ${what}`);
  const { value } = await answers.next();
  if (value !== 'done') throw new Error(`${what}: ${value}`);
}

/** Waits until ok holds of what read gives, looking again at every frame the page draws. */
export async function until(page, read, ok, what) {
  const deadline = Date.now() + patience;
  for (;;) {
    const value = await read();
    if (ok(value)) return value;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}; last was ${JSON.stringify(value)}`);
    await page.evaluate(() => new Promise(requestAnimationFrame));
  }
}

export function must(ok, what) {
  if (!ok) throw new Error(what);
}
