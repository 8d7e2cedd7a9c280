import i18next, { type TOptions } from 'i18next';
import { useCallback, useSyncExternalStore } from 'react';
import type { Key } from './keys';
import first from './locales/en/first';

export const languages = ['en', 'id', 'ru', 'zh'] as const;
export type Language = (typeof languages)[number];

/** Each language in its own words, for the switch. */
export const languageNames: Record<Language, string> = {
  en: 'English',
  id: 'Bahasa Indonesia',
  ru: 'Русский',
  zh: '简体中文',
};

const storageKey = 'pandu.language';
type Bundle = Record<string, object>;

const firstOf: Record<Exclude<Language, 'en'>, () => Promise<{ default: Bundle }>> = {
  id: () => import('./locales/id/first'),
  ru: () => import('./locales/ru/first'),
  zh: () => import('./locales/zh/first'),
};
const restOf: Record<Language, () => Promise<{ default: Bundle }>> = {
  en: () => import('./locales/en/rest'),
  id: () => import('./locales/id/rest'),
  ru: () => import('./locales/ru/rest'),
  zh: () => import('./locales/zh/rest'),
};

let wantsRest = false;

/** The language to begin with: the one chosen before, else the first of the browser's that we have, else English. */
export function preferredLanguage(stored: string | null, wanted: readonly string[]): Language {
  const known = (tag: string) => languages.find((language) => tag.toLowerCase().split('-')[0] === language);
  // Browsers of older Java lineage still say "in" for Indonesian.
  const all = [stored ?? '', ...wanted.map((tag) => tag.replace(/^in\b/, 'id'))];
  for (const tag of all) {
    const language = known(tag);
    if (language) return language;
  }
  return 'en';
}

function add(language: Language, bundle: Bundle) {
  for (const [namespace, texts] of Object.entries(bundle)) {
    i18next.addResourceBundle(language, namespace, texts, true, true);
  }
}

async function load(language: Language) {
  const parts: Promise<{ default: Bundle }>[] = [];
  if (language !== 'en') parts.push(firstOf[language]());
  if (wantsRest) parts.push(restOf[language]());
  for (const part of await Promise.all(parts)) add(language, part.default);
}

/** Prepares the texts of the first screens; must have ended before anything is drawn. */
export async function startTexts() {
  const language = preferredLanguage(localStorage.getItem(storageKey), navigator.languages);
  await i18next.init({
    lng: language,
    fallbackLng: 'en',
    supportedLngs: [...languages],
    interpolation: { escapeValue: false },
    resources: { en: first },
    ns: ['common'],
    defaultNS: 'common',
    returnNull: false,
  });
  await load(language);
  await i18next.changeLanguage(language);
  document.documentElement.lang = htmlLanguage(language);
}

/** Loads the texts of every other screen, too. */
export async function loadAllTexts() {
  wantsRest = true;
  await load(currentLanguage());
}

const htmlLanguage = (language: Language) => (language === 'zh' ? 'zh-Hans' : language);

/** Switches the language for good; the browser remembers it. */
export async function switchLanguage(language: Language) {
  await load(language);
  localStorage.setItem(storageKey, language);
  document.documentElement.lang = htmlLanguage(language);
  await i18next.changeLanguage(language);
}

export const currentLanguage = () => (i18next.language || 'en') as Language;

/** Gives a text by its key, `namespace:path`. */
export type Translate = (key: Key, options?: TOptions) => string;

/** The text of a key in the language of the moment. Components use `useText`, so that they follow a switch. */
export const text: Translate = (key, options) => i18next.t(key, { ...options }) as string;

/** Whether a key that was put together at run time has a text. */
export const hasText = (key: string) => i18next.exists(key);

/** The text of a key that was put together at run time; check with `hasText`. */
export const textOf = (key: string, options?: TOptions) => i18next.t(key, { ...options }) as string;

function subscribe(listener: () => void) {
  i18next.on('languageChanged', listener);
  return () => i18next.off('languageChanged', listener);
}

/** The language of the moment; drawing again when it changes. */
export const useLanguage = () => useSyncExternalStore(subscribe, currentLanguage);

/** The texts of the language of the moment. */
export function useText(): Translate {
  const language = useLanguage();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new language needs a new function, so that memos see it
  return useCallback<Translate>((key, options) => text(key, options), [language]);
}
