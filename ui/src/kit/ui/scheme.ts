type Scheme = 'light' | 'dark' | 'auto';

// The component library's own key and attribute, so that both always agree.
const storageKey = 'mantine-color-scheme-value';

/** The scheme that the person chose, as the page shows it: like the system's when none was chosen. */
export function applyScheme() {
  const chosen = localStorage.getItem(storageKey) as Scheme | null;
  const dark = chosen === 'dark' || (chosen !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.setAttribute('data-mantine-color-scheme', dark ? 'dark' : 'light');
}
