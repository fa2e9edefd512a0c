// node compile.js FILE.ksy... TARGET:FOLDER...: compiles each file to each target. The npm package has no command line.
// NODE_PATH names the folder with kaitai-struct-compiler and js-yaml.
const fs = require('fs')
const path = require('path')
const yaml = require('js-yaml')
const compiler = require('kaitai-struct-compiler')

const load = file => yaml.load(fs.readFileSync(file, 'utf8'))
const files = process.argv.slice(2).filter(a => a.endsWith('.ksy'))
const targets = process.argv.slice(2).filter(a => !a.endsWith('.ksy')).map(a => a.split(':'))

async function main () {
  for (const file of files) {
    const importer = { importYaml: name => Promise.resolve(load(path.join(path.dirname(file), name + '.ksy'))) }
    for (const [target, folder] of targets) {
      const made = await compiler.compile(target, load(file), importer, false)
      for (const [name, text] of Object.entries(made)) fs.writeFileSync(path.join(folder, name), text)
    }
  }
}

main().catch(e => { console.error(String(e.message || e)); process.exit(1) })
