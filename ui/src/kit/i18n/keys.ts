import type first from './locales/en/first';
import type rest from './locales/en/rest';

type Plural<K extends string> = K extends `${infer Stem}_${'zero' | 'one' | 'two' | 'few' | 'many' | 'other'}`
  ? Stem
  : K;

type Leaves<T, Prefix extends string = ''> = {
  [K in keyof T & string]: T[K] extends string ? `${Prefix}${Plural<K>}` : Leaves<T[K], `${Prefix}${K}.`>;
}[keyof T & string];

type Namespaces<T> = { [N in keyof T & string]: `${N}:${Leaves<T[N]>}` }[keyof T & string];

/** Every text there is, as `namespace:path`; plural forms under their stem. */
export type Key = Namespaces<typeof first> | Namespaces<typeof rest>;
