<?php

$dir = getenv('SSOGATE_INTEROP');

// Our metadata as SimpleSAMLphp's own parser reads it (its converter does the same),
// and what the test at hand changes in the entry afterwards.
if (is_file($dir . '/sp.xml')) {
    foreach (\SimpleSAML\Metadata\SAMLParser::parseDescriptorsFile($dir . '/sp.xml') as $id => $parsed) {
        $metadata[$id] = array_merge($parsed->getMetadata20SP(), json_decode(file_get_contents($dir . '/entry.json'), true));
    }
}

// Somebody else's application whose entry names our ACS by mistake: what it is
// answered with is not meant for us.
$metadata['https://elsewhere.example/metadata'] = [
    'AssertionConsumerService' => getenv('SSOGATE_INTEROP_GATEWAY') . '/saml/ssp/acs',
];
