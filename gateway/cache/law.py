"""What may be answered from the cache and what may be stored. When in doubt: not.

An answer that depends on the hour, the home, the weather, the news, the conversation or chance is asked of the model each
time; so is whatever wants something done or kept. What depends on the household's memory may be stored: the memory's
epoch guards it. A word alone seldom tells (a `state` is a lamp's, or of matter; one asks for the `price` of freedom),
so the patterns below look at how the sentence is made: how it opens, whom it names, what stands beside the word.
Where they err it is towards the model: a question they catch needlessly costs time, one they miss could cost the truth.
They are kept for the languages that were reviewed; an utterance in another language is not cached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from gateway.cache.courtesies import asks, plain
from gateway.cache.key import MAX_CHARACTERS, folded
from gateway.shapes import CacheControl, Entity, Message, Reply, Turn

# What a home has and who lives there.
_EN_THING = (
    r"(?:lights?(?! (?:bulb|year|speed))|lamps?|bulbs|doors?|windows?|garage|gates?|blinds?|curtains?|shutters?|shades|oven|stove|hob|fridge|freezer|dishwasher|"
    r"washing machine|washer|dryer|tv|telly|television|radio|speakers?|music|heating|heater|radiators?|thermostat|air ?con\w*|ac|fans?|alarm|cameras?|"
    r"vacuum(?: cleaner)?|robot|plugs?|sockets?|switch|sensors?|printer|router|kettle|coffee machine|boiler|pump|sprinklers?|car|phone|tablet|laptop|doorbell|"
    r"locks?|kids?|children|baby|dog|cat|kitchen|bedroom|bathroom|living room|dining room|hall(?:way)?|office|attic|loft|cellar|basement|garden|yard|house|home|"
    r"room|nursery|porch|shed|patio|balcony|pool|upstairs|downstairs|outside|inside|scene|playlist|song|volume|brightness)"
)
_EN_OURS = rf"(?:the|my|our|your|this|that|these|those) (?:\w+ ){{0,2}}{_EN_THING}"
_EN_ANY = r"(?:anyone|anybody|someone|somebody|everyone|everybody|nobody|no one)"
_EN_DO = (
    r"(?:turn|switch|set|make|put|change|dim|brighten|raise|lower|increase|decrease|open|close|shut|lock|unlock|arm|disarm|start|stop|pause|resume|play|skip|mute|unmute|shuffle|run|"
    r"activate|deactivate|enable|disable|trigger|launch|cancel|add|remove|delete|clear|buy|order|send|write to|call|phone|ring|announce|broadcast|tell (?!me\b|us\b)|remind|wake|"
    r"remember|don't forget|do not forget|keep in mind|note|save|store|forget|learn|update|vacuum|clean|heat|cool|warm|water|book|schedule|stream|connect|restart|reboot|lights? (?:on|off|out|up|down))"
)
_EN_WHEN = r"(?:night|week|weekend|month|year|time|hour|minute|few|couple|summer|winter|spring|autumn|(?:mon|tues|wednes|thurs|fri|satur|sun)day)"
_EN_MADE = r"(?:jokes?|stor(?:y|ies)|tales?|poems?|rhymes?|riddles?|limericks?|haikus?|songs?|lullab\w+|quotes?|fun facts?|interesting facts?|trivia|tongue twisters?|puns?|compliments?)"
_EN: Mapping[str, tuple[str, ...]] = {
    "correction": (
        r"^(?:no|nope|nah|yes|yeah|yep|wrong|incorrect|false|true|correct|right|exactly|sure)(?:$|[,.;:!?]| (?:that|it|this|you|i|not|he|she|they|wrong|actually|sorry|wait)\b)",
        r"^(?:sorry,? |but |actually,? |i think )*(?:that|this|it|your answer|the answer)(?:'s| is| was|) ?(?:not|n't)? ?(?:wrong|right|true|false|correct|incorrect|it)\b",
        r"^(?:that|this|it) (?:isn't|wasn't|ain't)\b|^you(?:'re| are| were| got (?:it|that)) (?:wrong|mistaken|right)|^wrong answer",
    ),
    "again": (
        r"\b(?:once more|one more time|once again)\b|\bagain$|^(?:ask|try|check|say|answer|look|think|tell me|do|play|repeat)\b.*\bagain\b",
        r"^(?:repeat|re-?ask|re-?try|re-?check|double[- ]check|regenerate|refresh|reconsider|continue|go on|come again|pardon|sorry)\b",
        r"\b(?:without|use|from|bypass) (?:the |your )?cache\b",
    ),
    "action": (
        (
            rf"^(?:(?:please|kindly|could you|can you|would you|will you|won't you|can't you|you (?:should|could|can|must)|i want you to|i'd like you to|i need you to|i would like you to|let's|"
            rf"let us|hey|ok(?:ay)?|um+|uh+|so|well|now|then|also|and|just|quickly|go ahead and|why don't you|why not|why won't you|(?:is it|would it be) (?:possible|ok|okay) (?:for you )?to|is there a way to|"
            rf"do me a favou?r and|be (?:a dear|so kind) and|never ?mind|at \w+|in \w+ (?:minutes?|hours?)),? )*{_EN_DO}\b"
        ),
        (
            r"^(?:do|go|let|have|get|take|bring|show|read|check|find|search|keep|leave|use|say|hold|wait|move|drive|follow|watch|listen|lay|fetch|hoover|mop|feed|mow|let there be)\b"
            r" (?:the|my|our|your|it|that|this|them|me|us|not|a|an|some|something|on|off|up|down|to|out|back|home|away|there|all|every\w*)\b"
        ),
        r"\b(?:mind|how about|what about|try|thinking of) (?:\w+ )?(?:turning|switching|setting|dimming|opening|closing|shutting|locking|unlocking|starting|stopping|playing|pausing|putting|lowering|raising|adding|making)\b",
        (
            r"(?:,|\band|\bthen) (?:please |also |then |just )*(?:turn|switch|dim|lock|unlock|open|close|start|stop|play|pause|set|add|remember|save|call|remind|wake)\b"
            r" (?:the|my|our|it|that|this|all|me|us|on|off|up|down|a|an|some|to)\b"
        ),
        r"^(?:i|i'm|i am|i'd|i've|i'll|we|we're|we are|we've|we'll|my|our|let's)\b",
        r"^(?:it|it's|it is|that's) (?:is |'s )?(?:too|so|very|a bit|a little|getting|quite|really|rather|freezing|boiling)\b|\btoo (?:dark|bright|cold|warm|hot|loud|quiet|noisy|stuffy)\b",
        r"\b(?:remind me|wake me|for me to remember|don't forget|keep in mind|call me)\b",
    ),
    "freshness": (
        (
            r"\b(?:now|nowadays|currently|at (?:the|this) moment|at present|today|tonight|tomorrow|yesterday|this (?:morning|afternoon|evening|night|week|weekend|month|year|minute|instant|time)|"
            r"latest|newest|most recent|recent(?:ly)?|lately|so far|these days|already|soon|earlier|right away|just (?:now|happened|said|asked|told|did)|has just|have just|upcoming|trending|live (?:scores?|stream|feed|view|image|coverage)|o'clock)\b"
        ),
        r"(?<!electric )(?<!electrical )(?<!alternating )(?<!direct )(?<!ocean )(?<!sea )(?<!eddy )\bcurrent \w+|\bstill\b(?! life)|\byet$|\b(?:any ?more|any longer)$",
        r"(?<!million years )(?<!billion years )(?<!thousand years )(?<!hundred years )(?<!centuries )\bago\b",
        rf"\blast (?:{_EN_WHEN}|\d+)\b|\b(?:the|my|our|your) (?:last|previous|first) (?:time|message|question|answer|thing|one|e?mail|call|visit|episode|match|game|election|word)\b",
        rf"\bnext {_EN_WHEN}\b|\b(?:the|my|our|your) next\b|\bwhat(?:'s| is) next\b",
        r"^(?:what(?:'s| is| was)|tell me|give me|do you know|have you got)(?: me)? (?:the |today's )?(?:time|date|day|hour|month|year|season)\b(?! (?:of|zone|complexity|signature|machine|when|that|light))",
        r"\b(?:what|which) (?:(?:time|date|day|hour|weekday) (?:was|did)|(?:time|date|day|year|month|week|season|century|hour|weekday) (?:is|are|do|does|will|of the))\b(?! the (?:french|first|second|battle|war))(?! (?:the )?\w+ (?:built|born|founded|discovered|invented|made|published|released))",
        (
            r"^is (?:it|today) (?:a |an |the )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday|january|february|march|april|may|june|july|august|september|october|november|december|"
            r"weekend|weekday|holiday|leap|dark|light|late|early|noon|midnight|morning|evening|night|spring|summer|autumn|winter|dry|wet|warm|cold|hot|nice|safe to go|time)\b"
        ),
        r"\btime (?:is it|now|left|remaining|until|till)\b|\b(?:it's|is it) time\b|^what (?:time|day|date|month|year|season) it\b|\bthe time$|\bthe time in\b",
        r"\bhow (?:many|long|much)\b.*\b(?:until|till|to go|left|remaining)\b|\b(?:in|after|half an?) (?:an? |\d+ )?(?:hour|minute)s?$",
        r"\bhow old (?:am|are (?:you|we|my|our)|is (?:my|our))\b|\bhow (?:are|is|'s) (?:you|it going|things|everything)\b",
        (
            r"\bweather (?:like|in|for|at|on|forecast|going|be|will|here|outside|report|better|worse|warning)\b|\b(?:the|our|good|bad|nice|check|show|how's) weather$|^weather\b|^(?:how's|how is|check|show|what's|what is) (?:the )?weather\b(?! and)|"
            r"\bforecasts?\b|\bumbrella\b|\bchances? of (?:rain|snow|frost|showers)\b|\b(?:wear|need|take) a (?:coat|jacket|raincoat|jumper)\b"
        ),
        r"^(?:is|will|does|do|did|has|was|are|when will|when is|how long will|how much|should)\b.*\b(?:rain(?:s|ed|ing|y)?|snow(?:s|ed|ing|y)?|storm\w*|hail\w*|sunny|cloudy|windy|foggy|icy|slippery|freezing|frost\w*|muggy)\b",
        rf"^how (?:warm|cold|hot|humid|windy|sunny|dark|bright|cloudy|wet|dry|busy|loud|noisy|stuffy|clean|dirty|dusty) (?:is|are|was|will|does)\b.*\b(?:it|we|{_EN_THING})\b",
        (
            rf"\b(?:temperatures?|humidity|air quality|co2|pollen|uv index|wind speed|pressure) (?:in|inside|outside|indoors|outdoors|upstairs|downstairs|here|at|on|like|is it|going|level)\b|\b(?:temperatures?|humidity|air quality) of {_EN_OURS}\b|"
            r"^(?:what's the|what is the|tell me(?: the)?|give me(?: the)?|check(?: the)?|how's the|how is the) (?:\w+ )?(?:temperature|humidity|air quality|pollen count|uv index|wind speed)$(?<!melting temperature)|\bwhat temperature (?:is|are|do we|does it)\b|\b\w+ temperature\?*$(?<!body temperature)(?<!what temperature)"
        ),
        r"\b(?:the|any|today's|local|world|good|bad|on the|in the) news\b(?! agency)|^news\b|\bheadlines?\b|\bhappening\b|\bwhat(?:'s| has| is)? (?:happened|new|going on|up)$|\bwhat's (?:happened|going on)\b",
        r"\bprices?\b(?! (?:of (?:freedom|liberty|peace|fame|success|love)|elasticity|theory|discrimination|mechanism|index))|\b(?:does|do|did|will|would)\b.*\bcost\b|^how much (?:is|are) (?:a|an|the|one)\b(?!.*\b(?:in|of)\b)",
        r"\b(?:stock|share)s? (?:price|of)\b|\b(?:the|my|our|how's|how is|how are) (?:\w+ )?(?:stocks?|shares|stock market)\b|\b(?:bitcoin|ethereum|exchange rate|interest rates?)\b",
        r"\b(?:the|final|live|football) scores?\b|^scores?\b|\bwho(?:'s| is) (?:winning|leading|playing|in the lead)\b|\bwho won (?:the )?(?:match|game|race|last|election|derby|fight)\b|\bstandings\b",
        (
            r"\btraffic\b(?! (?:lights?|signs?|cones?|laws?|rules?))|\b(?:delay(?:s|ed)|cancelled|departures?|arrivals?)\b|"
            r"^(?:is|are|when(?:'s| is| does| do| will)|what time|where(?:'s| is)|has|have|did|any)\b.*\b(?:train|bus|flight|tram|delivery|parcel|package|mail|post|letter|guests?|bin lorry)\b"
        ),
        r"\b(?:sunset|sunrise|dusk|moonrise|high tide|low tide|full moon|new moon)\b.*$(?<!a sunset)(?<!a sunrise)|\b(?:does|will|did) the (?:sun|moon) (?:set|rise|come)",
        r"\b(?:my|our|the|any|no|which|what|how many|all|upcoming) (?:\w+ )?(?:calendar|agenda|appointments?|meetings?|reminders?|timers?|alarms?|shopping list|list|to-?do(?:s| list)?|schedule|e?mails?|messages?|notifications?|inbox|tasks?|chores|events?|plans)\b(?! (?:of|in (?:a|the)|year))",
        r"^(?:when|where|what|who|how|why)?\b ?(?:did|have|had|was|were) (?:i|we|you|my|our)\b|\b(?:i|you|we) (?:just )?(?:said|told|asked|mentioned|meant|recommended|suggested|talked|spoke|discussed)\b|\b(?:have|did) (?:i|you|we) (?:ever |just )?(?:say|tell|ask|mention|talk|speak|discuss|told|asked|said)\b",
        rf"^(?:did|has|have|when did|when has) (?:the |my |our )?(?:{_EN_ANY}|\w+)(?: \w+)?\b.*\b(?:come|came|arrived?|calls?|called|ring|rang|rung|leave|left|back|delivered|finish(?:ed)?|ended|been|knock\w*|fed|phoned|texted|visit(?:ed)?|replied|get home|got home|start(?:ed)?)$",
        rf"^(?:did|has|have) {_EN_ANY}\b.*\b(?:called|call|rung|ring|rang|been|come|arrived|left|fed|visited|knocked|phoned|texted|opened|closed|moved|delivered|seen)\b|^did (?:he|she|they|it|mum|mom|dad)\b",
        r"^(?:good (?:morning|evening|afternoon|night|day)|hello|hi|hey|howdy|bye|goodbye|welcome|what's up|see you|thanks?|thank you|cheers|never ?mind)\b(?: (?:there|assistant|everyone|you|so much|very much|a lot|jarvis|nabu))*$",
        r"\b(?:opening (?:hours|times)|open (?:today|until|till)|what time does|until when)\b",
    ),
    "state": (
        rf"^(?:is|are|am|was|were|isn't|aren't|has|have|hasn't|haven't|did|does|do|will)\b(?! it (?:true|safe|dangerous|healthy|legal|normal|bad|good)\b).*\b(?:{_EN_OURS}|any (?:\w+ )?{_EN_THING}|all (?:\w+ )?{_EN_THING}|everything|{_EN_ANY})\b(?! (?:ever |been to |walked|invent))",
        rf"^(?!how (?:do|can|should|would|could) (?:i|you|we|one)\b|how to\b|who (?:invented|discovered|created|designed|built|first)\b).*\b(?:my|our|this|that) (?:\w+ )?{_EN_THING}\b",
        rf"^(?:what|which|how|who|where|when|why)(?:'s|'re)?\b(?! (?:do|can|should|would|could|to) (?:i|you|we|one)\b)(?! (?:invented|discovered|created|designed|built|first)\b).*\b(?:in|of|at|on|is|are|was|were|does|do|did|has) the (?:\w+ )?{_EN_THING}\b(?! (?:of|called|invented))",
        r"^(?:is|are|isn't|aren't|was|were|has|have)\b.*\b(?:on|off|open(?:ed)?|closed|shut|locked|unlocked|running|playing|paused|charging|charged|home|away|armed|disarmed|finished|done|ready|empty|connected|occupied|there|here|awake|asleep|working|available|online|offline|in|out|up|down|late)$",
        r"^(?:which|how many|how much|whose)\b.*\b(?:is|are|was|were|left|has|have)\b.*\b(?:on|off|open|closed|shut|locked|unlocked|running|playing|paused|charging|home|away|awake|asleep|empty|connected|working|left|online|offline|using|there)$(?<!are there)(?<!is there)",
        r"^what(?:'s| is| are| was)(?: currently)? (?:(?:on|off|open|closed|locked|unlocked|running|charging|connected)(?:$| (?:in|at|on|the|my|upstairs|downstairs)\b)|playing\b)|\bset to\b|\b(?:turned|switched|left) (?:on|off)\b",
        rf"\bwho(?:'s| is| was|se)? (?:home|here|there|at (?:the|my|our)|in (?:the|my|our)|outside|inside|upstairs|up|awake|that|this|calling|ringing)\b|\b{_EN_ANY} (?:home|here|there|in|at|outside|up|awake)\b",
        r"\bwhere(?:'s| is| are| am| was| were| did)\b.*\b(?:i|me|my|we|our|home|here|everyone|everybody|anybody|anyone|kids?|children|mum|mom|dad|grandma|grandpa)\b",
        r"\b(?:battery|volume|water|oil|fuel|ink|toner|tank|brightness|noise|humidity|charge) (?:level|status|percentage|usage)\b(?! (?:that|of a|for a|harms))|\b(?:the|my|our|phone|phone's|'s) (?:battery|batteries)\b|\bbatter(?:y|ies) (?:is|are|left|of (?:the|my)|low|level)\b|\bmuch battery\b",
        r"\b(?:level|status|state|position|brightness|volume|mode) of (?:the|my|our)\b(?! (?:art|union|world|nation|sea|ocean|sun|earth|moon|universe))|^what(?:'s| is) the (?:volume|brightness|status|position|mode|alarm)$|\bwhat (?:position|mode|state|volume|brightness|level|colou?r) (?:is|are)\b",
        r"\b(?:power|energy|electricity|water|gas|my|our|solar|data) (?:usage|consumption|production|used?)\b|\b(?:am|are|is) (?:i|we|\w+ \w+) (?:using|consuming|producing)\b",
        r"^(?:am|are we|have i|have we|do we have|do i have|is everything|are they|is he|is she|are you)\b|\bout of (?:milk|bread|eggs|coffee|\w+)$",
        r"\b(?:can|do|could|did) you (?:see|hear|smell|feel|detect)\b|\bon (?:the )?camera\b",
        r"^(?:(?:tell me|check|do you know) (?:if|whether) )?(?:is|are|isn't|aren't|has|have|does|do) (?:the|any|anything|all|every\w*|some\w*|my|our|this|that|there)\b(?! (?:more|fewer|less) .* than\b)(?! \w+ (?:a|an)\b)",
        rf"^(?:tell me|check|see|know) (?:if|whether|who|which|how many|what)\b.*\b(?:on|off|open|closed|locked|home|{_EN_THING})\b|^(?:which|how many|whose) (?:\w+ ){{0,3}}(?:{_EN_THING}|sensors?|devices|things|detectors|appliances|updates)\b.*\b(?:is|are|was|were|do|does|have|has|did)\b|^(?:which|what|how many) updates\b",
        r"^(?:is|are|isn't|aren't|was|were)\b.*\b(?:detected|triggered|tripped|cold|hot|warm|wet|dry|damp|safe|unsafe|clear|clean|dirty|vibrating|moving|plugged in|unplugged|low|high|jammed|stuck|blocked|tampered|leaking)$",
        rf"\b(?:status|state|temp|reading) of\b(?! (?:a|an|matter|war|emergency|grace|mind|nature|liberty|this|his|her|their|the (?:art|union|world|nation|sun|earth|moon|universe))\b)|\btemp$|\b(?:indicated|measured|reported|read|shown) by\b.*\b(?:sensor|{_EN_THING}|meter)\b|\bsensor\b.*\b(?:level|value|reading)\b|\bwho is at home\b|\bat home$|\b(?:first|second|ground|top|upper|lower) floor\b",
    ),
    "novelty": (
        rf"^(?:please |can you |could you |would you |will you |do you (?:know|have) |have you got |i want |let's hear |know )*(?:tell|give|read|recite|sing|say|make up|share|hear|have|got|show|any|another|some|one|a|an)\b.*\b{_EN_MADE}\b",
        rf"\b(?:good|funny|nice|new|another|more|some|any|silly|scary|bedtime|random) (?:\w+ )?{_EN_MADE}\b|^{_EN_MADE}(?: please)?$",
        r"^(?:please |can you |could you |would you |will you |let's |help me )*(?:write|compose|generate|create|make up|come up with|brainstorm|imagine|pretend|invent|draft|improvise|design|sing|rap|pick|choose|guess|roll|flip|toss|spin|draw|surprise|quiz|entertain|inspire|motivate|compliment|recommend|suggest|play|act)\b",
        r"\brandom(?:ly)?\b(?! (?:access|variables?|walks?|forests?|sampl\w+|number generators?|effects?|errors?))|\bsurprise me\b|\bheads or tails\b|\b(?:roll|throw|flip|toss)\b.*\b(?:dice?|coins?)\b|\bguess\b(?! who wrote)",
        r"\b(?:recommend(?:ations?)?|suggest(?:ions?)?|ideas?|inspiration|tips?) (?:me|us|for (?:a|an|my|our|the|dinner|lunch|breakfast|something|tonight)|please)\b|\bdo you (?:recommend|suggest|think|feel|like|want|prefer)\b|\b(?:any|some|good|more) (?:\w+ )?(?:ideas?|suggestions?|recommendations?|tips)\b|\bwould you (?:recommend|suggest|pick|choose|like|rather)\b",
        r"\b(?:should|shall|could|can) (?:i|we) (?:eat|cook|make|have|wear|watch|read|do|play|buy|get|listen|visit|give|name|call|order|drink|go|bake|paint|draw|study|learn)\b(?!.*\b(?:if|when|with)\b)",
        r"\banother\b(?! (?:name|word|term|way to say|language|planet))|\b(?:one|some|any|even|tell me|give me|show me|and) more$|\bmore (?:please|of (?:those|them|that)|like (?:that|this)|examples?|about (?:it|that|this|him|her|them))$|^more\b",
        r"\b(?:something|anything|someone|somewhere) (?:else|new|different|fun|interesting|nice|special)\b|^(?:what|who|where|anything|and what) else$|\ba (?:different|new) (?:one|answer|idea|version|joke|story)\b|\bothers?$|\bother (?:one|ones|ideas?|options?|suggestions?|examples?)\b|\bnumber between\b",
        r"\b(?:let's play|play a|a game with|quiz me|trivia)\b",
    ),
}
_FR_THING = (
    r"(?:lumi[èe]res?|lampes?|portes?|fen[êe]tres?|garage|portail|volets?|stores?|rideaux?|four|frigo|r[ée]frig[ée]rateur|cong[ée]lateur|lave-vaisselle|lave-linge|machine(?: [àa] laver)?|s[èe]che-linge|"
    r"t[ée]l[ée](?:vision)?|radio|enceintes?|musique|chauffage|radiateurs?|thermostat|clim(?:atisation)?|ventilateur|alarme|cam[ée]ras?|aspirateur|robot|prises?|capteurs?|imprimante|bouilloire|cafeti[èe]re|chaudi[èe]re|"
    r"arrosage|voiture|sonnette|serrure|enfants|b[ée]b[ée]|cuisine|chambre|salon|salle [àa] manger|salle de bains?|s[ée]jour|couloir|entr[ée]e|bureau|grenier|cave|jardin|maison|pi[èe]ce|balcon|terrasse|piscine|[ée]tage|"
    r"dehors|int[ée]rieur|ext[ée]rieur)"
)
_FR_OURS = (
    rf"(?:l[ae] |les |l'|mon |ma |mes |notre |nos |ton |ta |votre |cette? |ces |du |au |aux |des )(?:\w+ )?{_FR_THING}"
)
_FR_ER = (
    r"(?:allum|r[èée]gl|baiss|augment|diminu|tamis|ferm|verrouill|d[ée]verrouill|arm|d[ée]sarm|d[ée]marr|lanc|arr[êe]t|stopp|jou|coup|activ|d[ée]sactiv|ajout|enl[èe]v|supprim|effac|command|appel|appell|annonc|"
    r"diffus|rappel|rappell|r[ée]veill|not|m[ée]moris|enregistr|oubli|nettoy|nettoi|aspir|chauff|arros|r[ée]serv|programm|annul|chang|renomm|envoy|envoi|mont|remont|pass|d[ée]marr|connect|t[ée]l[ée]phon|achet|ach[èe]t|laiss|"
    r"apport|cherch|gard|rang|pr[ée]par|d[ée]clench|[ée]cout|regard)(?:e|es|ez|er|ons|ais|iez|ait|ions)"
)
_FR_DO = (
    rf"(?:n'(?:oublie|oubliez)|{_FR_ER}|[ée]tein(?:s|dre|dez|drais|gnes?|gnais|ts?)|met(?:s|tez|tre|tes?|tais|trais)|r[ée]dui(?:s|re|sez|ses?)|ouvr(?:e|es|ez|ir|ais|irais)|repren(?:ds|dre|ez)|retien(?:s|nes?)|retenir|souviens|"
    r"appren(?:ds|dre|ez)|fai(?:s|re|tes)|lis|descend(?:s|re|ez)|refroidi(?:s|r)|va (?:dans|au|[àa]|chercher|te)|vas|tourne|pause|dors|viens)"
)
_FR_MADE = r"(?:blagues?|histoires?|contes?|po[èe]mes?|devinettes?|comptines?|ha[ïi]kus?|chansons?|citations?|anecdotes?|charades?|[ée]nigmes?|rimes|calembours?)"
_FR: Mapping[str, tuple[str, ...]] = {
    "correction": (
        r"^(?:non|oui|si|ouais|faux|vrai|exact(?:ement)?|incorrect|d'accord)(?:$|[,.;:!?]| (?:c'est|ce|ça|tu|vous|je|il|elle|pas|mais|attends)\b)",
        r"^(?:mais |je crois que |en fait,? )*(?:c'est|c'[ée]tait|ce n'est|ce n'[ée]tait) (?:pas )?(?:vrai|faux|juste|correct|exact|inexact|incorrect|[çc]a|une erreur|la bonne r[ée]ponse|n'importe quoi)\b",
        r"^(?:tu te trompes|tu t'es tromp|t'es tromp|tu as tort|vous vous trompez|mauvaise r[ée]ponse|(?:ta|votre|la) r[ée]ponse est)",
    ),
    "again": (
        r"\b(?:encore une fois|[àa] nouveau|de nouveau|une nouvelle fois|une autre fois)\b|\bencore$|^encore\b",
        (
            r"^(?:r[ée]p[èe]te|r[ée]p[ée]tez|redis|redites|redemande|r[ée]essa[iy]e|rev[ée]rifie|recommence|continue|repose|reformule|pardon|comment)(?:$|[ ,-])(?!(?:\w|')+.*(?:\w\w))|"
            r"^(?:r[ée]p[èe]te|r[ée]p[ée]tez|redis|redites|redemande|r[ée]essa[iy]e|rev[ée]rifie|recommence|repose|reformule)\b|\bsans (?:le |ton )?cache\b"
        ),
    ),
    "action": (
        (
            rf"^(?:(?:s'il te pla[iî]t|s'il vous pla[iî]t|stp|svp|peux-tu|pourrais-tu|pouvez-vous|pourriez-vous|veux-tu|voudrais-tu|tu peux|tu pourrais|vous pouvez|est-ce que tu (?:peux|pourrais|veux bien)|est-ce qu'il serait possible de|"
            rf"(?:il serait|est-il|c'est|il est) possible (?:de|d')|si tu|et si tu|et si on|tu veux bien|il faut|il faudrait|j'aimerais que tu|je veux que tu|je voudrais que tu|merci de|pense [àa]|h[ée]|hey|ok|euh+|bon|alors|puis|et|maintenant|dis|"
            rf"tu (?:me|nous|peux me)|me|nous|le|la|les|l'),?(?: |(?<=')))*{_FR_DO}(?:-(?:moi|toi|le|la|les|lui|leur|nous|y|en|vous))*\b(?!-t-|-vous (?:fait|que))"
        ),
        r"(?:,|\bet|\bpuis) (?:s'il te pla[iî]t )?(?:allume|[ée]teins|ferme|ouvre|lance|arr[êe]te|mets|r[èe]gle|baisse|monte|verrouille|joue|ajoute|rappelle-moi|retiens|note|appelle)\b",
        r"^(?:j'|je|nous|on a|on est|mon|ma|mes|notre|nos)\b ?(?!.*\?)(?!sommes-nous)|^(?:il fait|c'est|on a) (?:trop|tr[èe]s|si|un peu|vraiment|bien|super) |\btrop (?:sombre|clair|froid|chaud|fort|bruyant)\b",
        r"\b(?:rappelle-moi|r[ée]veille-moi|n'oublie pas|appelle-moi)\b",
    ),
    "freshness": (
        (
            r"\b(?:maintenant|actuel(?:le)?(?:ment|s)?|en ce moment|de nos jours|aujourd'hui|ce (?:matin|soir|midi|mois|week-end|jour)|cette (?:nuit|semaine|ann[ée]e|apr[èe]s-midi)|demain|hier|r[ée]cent(?:e|es|s|ment)?|derni[èe]rement|d[ée]j[àa]|bient[ôo]t|"
            r"tout [àa] l'heure|tout de suite|il y a (?:un|une|deux|trois|\d+|longtemps|peu|quelques?)|en direct|toujours (?:en|vivant|ouvert|l[àa]))\b"
        ),
        (
            r"\b(?:le |la |les |l'|mon |ma |mes |ton |notre )?prochaine?s?\b|\b(?:nuit|semaine|mois|ann[ée]e|week-end|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|fois) (?:derni[èe]re?|dernier|pass[ée]e?)\b|\b(?:la derni[èe]re fois|derni[èe]res? (?:nouvelles|infos?|version|actualit[ée]s?)|"
            r"dernier (?:match|[ée]pisode|film|album|mod[èe]le|message|appel|mail)|derniers? \w+$)\b|\bquel(?:le)? est (?:le |la )derni(?:er|[èe]re) \w+$"
        ),
        (
            r"\bquelle heure\b|\bl'heure (?:est-il|actuelle|qu'il)|\bheure (?:est|il)\b|\bquel jour\b|\b(?:on est|sommes-nous|est-on|c'est)(?: en)? (?:quel|quelle)\b|\bquel(?:le)? (?:jour|date|mois|ann[ée]e|saison|semaine) (?:sommes|est-ce|est-on|on est|est-il|aujourd)|\ben quelle ann[ée]e (?:sommes|est-on|on est)|\b[àa] quelle heure\b|"
            r"\bdate (?:d'aujourd'hui|du jour)\b|^(?:quelle est la date|c'est quoi la date|la date|donne-moi la date)$|\bsommes-nous\b|\bl'heure$"
        ),
        r"\bcombien de (?:jours?|temps|semaines?|mois|minutes|heures)\b.*\b(?:avant|jusqu|reste|d'ici|est|sera)\b(?!.*\b(?:ann[ée]e|siècle) )|\breste(?:-t-il|nt)?\b.*\b(?:minut\w*|temps|batterie|lait|pain|caf[ée])\b|\bcombien\b.*\breste\b|\bcombien de temps reste|\bdans combien de\b",
        r"\bquel [âa]ge (?:ai-je|j'ai|as-tu|avons|ont mes|a (?:mon|ma))|\bcomment (?:[çc]a va|vas-tu|allez-vous)",
        r"\bquel temps (?:fait|fera|va|il)|\bfait-il\b|\bil fait\b|\bfera-t-il\b|\bm[ée]t[ée]o\b(?! et (?:le )?climat)|\bpr[ée]visions?\b|\b(?:pleut|pleuvoir|pleuvra|neige-t-il|neigera|neiger)\b|\bva-t-il\b|\best-ce qu'il (?:pleut|neige|fait|va|vente|g[èe]le)|\bparapluie\b|\bd[ée]gr[ée]s\b(?=.*\b(?:dehors|dans|ici|fait)\b)",
        rf"\btemp[ée]ratures? (?:dans|de (?:la|l')? ?(?:chambre|cuisine|maison|pi[èe]ce|salle)|du (?:salon|bureau|s[ée]jour|four|frigo)|dehors|fait|est-il|ext[ée]rieure|int[ée]rieure|ici|[àa])\b|\btemp[ée]rature fait\b|^(?:quelle est la |la )?temp[ée]rature$|\b(?:taux d')?humidit[ée] (?:dans|de (?:la|l')? ?{_FR_THING}|du|dehors|ici|int[ée]rieure)",
        r"\b(?:les|des|quelles|quoi de) (?:nouvelles|actualit[ée]s|infos)\b|\bquoi de neuf\b|^(?:nouvelles|actualit[ée]s|infos)\b|\bles infos\b|\bse passe(?:-t-il)?(?:$| (?:dans le monde|ici|l[àa]|chez|en ce|dehors))|^que s'est-il pass[ée]$",
        r"\b(?:le |les |au |du )?prix\b(?! (?:nobel|goncourt|de la libert[ée]|d'un|litt[ée]raire))|\bco[ûu]tent?\b|\bcours (?:de (?:l'action|la bourse|l'or|l'euro)|du (?:bitcoin|dollar|p[ée]trole))|\bbitcoin\b|\bl'action \w+$|\btaux (?:de change|d'int[ée]r[êe]t)|\bla bourse (?:va|monte|baisse|aujourd)",
        r"\b(?:le|quel est le|du) (?:score|r[ée]sultat)\b|\bqui (?:gagne|m[èe]ne|joue)\b|\bqui a gagn[ée] (?:le |la )?(?:match|course|finale|hier|[ée]lections?)",
        r"\b(?:trafic|bouchons?|embouteillages?|circulation routi[èe]re|retards?|en retard)\b|\b(?:quand|[àa] quelle heure|est-ce que|o[ùu] est|y a-t-il)\b.*\b(?:train|bus|m[ée]tro|tram|vol|colis|livraison|courrier|facteur)\b",
        r"\b(?:l[èe]ve|couche)(?:-t-il|ra)?\b.*\b(?:soleil|lune)\b|\b(?:coucher|lever) (?:du|de) (?:soleil|la lune)\b|\bmar[ée]e (?:haute|basse)\b|\bpleine lune\b",
        r"\b(?:mon|ma|mes|notre|nos|l'|le|les|la|quelles?|quels?|des|combien de|ton) ?(?:agenda|calendrier|rendez-vous|r[ée]unions?|minuteurs?|alarmes?|rappels?|liste(?: de courses)?|courses|t[âa]ches|mails?|messages?|notifications?|planning|programme)\b",
        r"\b(?:je viens|j'ai|ai-je|avons-nous|nous avons|on a|as-tu|tu as|tu m'as|vous avez) (?:juste |d[ée]j[àa] )?(?:dit|demand[ée]|parl[ée]|discut[ée]|voulu|fait|laiss[ée]|ferm[ée]|oubli[ée]|mis|re[çc]u|de te)\b|\bje viens de\b|\b(?:ma|ta|la) (?:derni[èe]re|pr[ée]c[ée]dente) (?:question|r[ée]ponse)\b",
        r"\bquelqu'un (?:a|est|s'est|sonne|appelle|frappe)\b|\b(?:a|ont|est|sont)(?:-t-(?:il|elle|ils|elles|on))? (?:sonn[ée]|appel[ée]|arriv[ée]e?s?|rentr[ée]e?s?|parti[es]*|pass[ée]e?s? ce)\b",
        r"^(?:bonjour|bonsoir|salut|coucou|bonne (?:nuit|journ[ée]e|soir[ée]e)|au revoir|merci|[àa] plus)\b(?: (?:[àa] tous|toi|beaucoup|bien|assistant|jarvis|nabu))*$",
        r"\b(?:horaires?|heures) d'ouverture\b|\bv[ée]rifie\b|\b(?:est-ce qu'il|il) fait (?:nuit|jour)\b",
    ),
    "state": (
        r"\b(?:allum[ée]e?s?|[ée]teint(?:e|es|s)?|verrouill[ée]e?s?|d[ée]verrouill[ée]e?s?|en marche|en route|en charge|en cours|connect[ée]e?s?|arm[ée]e?s?|d[ée]sarm[ée]e?s?|branch[ée]e?s?)\b(?=$|[ ,?])(?! (?:en|par|depuis|forces|guerre))",
        r"\b(?:est|sont|sont-elles|sont-ils|est-elle|est-il|reste\w*)\b(?: \w+){0,2} (?:ouvert(?:e|es|s)?|ferm[ée]e?s?|termin[ée]e?s?|fini(?:e|es|s)?|pr[êe]te?s?|vides?|pleine?s?|absente?s?|pr[ée]sente?s?|libres?|occup[ée]e?s?|l[àa]|ici|dehors|r[ée]veill[ée]e?s?)$|\ba(?:-t-(?:il|elle|on))? (?:termin[ée]|fini)$",
        rf"\b(?:est-ce que|qu'est-ce qui|est-ce qu'il y a|y a-t-il|o[ùu] (?:est|sont)|combien|quel(?:le)?s?|qui est|comment (?:va|est)|pourquoi)\b(?!.*\b(?:vitesse de la lumi[èe]re|invent\w+|fonctionne\w*)\b).*\b{_FR_OURS}\b(?! (?:de|du|des) (?:la )?(?:terre|monnaie))(?<!la musique)(?<!la maison)|\b(?:mon|ma|mes|notre|nos) (?:\w+ )?(?:{_FR_THING}|t[ée]l[ée]phone|chien|chat|cl[ée]s?)\b",
        rf"\b(?:combien|quel(?:le)?s?)\b.*\b(?:de |d'|des )?{_FR_THING}\b.*\b(?:ouvert|ferm|allum|[ée]teint|verrouill)\w*|\b{_FR_THING}\b.*\b(?:est|sont|est-elle|est-il|sont-elles|sont-ils) (?:\w+ )?(?:ouvert|ferm|allum|[ée]teint|verrouill|bloqu|humide|chaud|froid)\w*\b(?=$| (?:dans|au|aux|[àa]|en|sur))|\brez-de-chauss[ée]e\b|\b(?:premier|deuxi[èe]me|dernier) [ée]tage\b",
        r"^(?:donne|dis|donnez|dites|v[ée]rifie)(?:[- ](?:moi|nous))?(?: si| la | le | l'| les )\b.*\b(?:[ée]tat|statut|pression|indice|vitesse du vent|vent|niveau|valeur|position|mode|temp[ée]rature)\b|^dis[- ]moi si\b|\b(?:ouvert|ferm[ée])(?:e|es|s)? (?:au|[àa] (?:cl[ée]|l'[ée]tage)|en bas|en haut)\b|\bo[ùu] (?:est|se trouve) \w+$",
        r"\b(?:[àa] la maison|chez (?:moi|nous)|dans (?:la|ma|le) (?:maison|pi[èe]ce|chambre|cuisine|salon))\b|\bo[ùu] suis-je\b|\bo[ùu] (?:je )?suis\b|\bo[ùu] sont (?:les|mes|nos) (?:enfants|cl[ée]s|chats|chiens)\b|\bqui est (?:l[àa]|ici|[àa]|dans|dehors|rentr[ée])\b",
        r"\b(?:niveau|pourcentage|[ée]tat) (?:de (?:la |l'|ma )?(?:batterie|charge|pile|volume|cuve|alarme|lumi[èe]re|porte)|du (?:volume|r[ée]servoir|t[ée]l[ée]phone|garage|portail))|\b(?:la|de|ma) batterie\b|\bpiles?\b.*\b(?:vides?|faibles?)\b|\bl'[ée]tat de l'alarme\b|\bstatut\b",
        (
            r"^quel(?:le)? est (?:le |la |l')(?:volume|luminosit[ée]|[ée]tat|consommation|mode)$|\b(?:luminosit[ée]|consommation|position|volume) (?:de (?:la |l'|ma |mon )?|du |des )"
            rf"(?:{_FR_THING}|lampe|maison|frigo|volets?)\b|\bconsomm(?:e|ation|ons-nous)\b.*\b(?:maison|frigo|four|chauffage|[ée]lectri\w+|eau)\b"
        ),
        r"\bqu'est-ce qui (?:joue|passe|tourne|marche|est)\b|\bqu'y a-t-il\b.*\b(?:sur|dans|[àa] la) (?:la |ma |mon |le |l')?(?:t[ée]l[ée]|frigo|liste|agenda|camera|cam[ée]ra)\b|\best-ce que (?:tout|je|j'|nous|quelqu'un|les enfants|mon|ma|mes)\b|\b(?:vois-tu|tu vois|entends-tu)\b",
    ),
    "novelty": (
        rf"^(?:peux-tu |tu peux |pourrais-tu |tu connais |connais-tu |tu as |as-tu |je veux )*(?:me |nous )?(?:raconte|racontez|raconter|dis|donne|donner|r[ée]cite|r[ée]citer|chante|chanter|connais|sors|fais|lis|une?|encore|la|des)(?:-(?:moi|nous))?\b.*\b{_FR_MADE}\b|^{_FR_MADE}\b|\b(?:bonne|dr[ôo]le|autre|nouvelle|petite) {_FR_MADE}\b",
        r"^(?:peux-tu |tu peux |pourrais-tu )*(?:[ée]cris|[ée]crire|r[ée]dige|r[ée]diger|compose|composer|invente|inventer|imagine|imaginer|cr[ée]e|cr[ée]er|g[ée]n[èe]re|improvise|choisis|choisir|tire|lance|devine|surprends|propose|proposer|sugg[èe]re|sugg[ée]rer|recommande|recommander|conseille|conseiller|inspire|joue|jouons|chante|motive|dessine)\b",
        r"\b(?:au hasard|al[ée]atoire(?:ment)?|pile ou face|surprends-moi|devine|nombre entre)\b|\b(?:une?|des) (?:autres?|nouveaux?|nouvelles?)\b(?! (?:nom|mot|planète)s?\b)(?=$| (?:exemple|blague|histoire|id[ée]e|fois|r[ée]ponse|citation|chanson|recette|film|livre))",
        r"\b(?:me|nous) (?:conseill|recommand|sugg[èe]r|propos)\w+|\b(?:conseilles|recommandes|sugg[èe]res|proposes|pr[ée]f[èe]res|penses)-tu\b|\b(?:id[ée]es?|suggestions?|recommandations?) (?:de|d'|pour)\b|\b(?:des|une) id[ée]es?\b|\btu (?:me )?(?:conseilles|recommandes|proposes|pr[ée]f[èe]res|penses)\b",
        r"\b(?:dois-je|devrais-je|puis-je|devons-nous|pourrait-on|on pourrait|je pourrais|peut-on|on) (?:cuisiner|manger|faire|pr[ée]parer|porter|mettre|regarder|lire|voir|[ée]couter|offrir|acheter|visiter|jouer)\b(?!.*\b(?:si|quand|du fromage)\b)(?=.*\b(?:pour|ce|au|[àa]|comme)\b|$)|\b(?:que|quoi) (?:cuisiner|manger|regarder|lire|offrir|porter|faire)\b(?! (?:si|quand))",
        r"\b(?:quelque chose|quoi|qui|rien|quelqu'un) (?:de nouveau|d'autre|de diff[ée]rent|de dr[ôo]le)\b|^(?:plus|encore plus)\b|\bdis-m'en plus\b|\ben plus$|\bd'autres?$|\bde plus$|\bun jeu\b|\bun quiz\b|\bjouons\b",
    ),
}
_PL_THING = (
    r"(?:[śs]wiat[łl]\w*|lamp\w*|[żz]ar[óo]wk\w*|drzwi\w*|okn\w*|okien|gara[żz]\w*|bram\w*|rolet\w*|zas[łl]on\w*|[żz]aluzj\w*|piekarnik\w*|kuchenk\w*|lod[óo]wk\w*|zamra[żz]ark\w*|zmywark\w*|pralk\w*|suszark\w*|telewizor\w*|radio|g[łl]o[śs]nik\w*|"
    r"muzyk\w*|ogrzewani\w*|grzejnik\w*|kaloryfer\w*|termostat\w*|klimatyzac\w*|wentylator\w*|alarm\w*|kamer\w*|odkurzacz\w*|robot\w*|gniazdk\w*|czujnik\w*|drukark\w*|czajnik\w*|ekspres\w*|kocio[łl]\w*|samoch[óo]d\w*|telefon\w*|zamek|zamk\w*|dzieci|"
    r"kuchni\w*|sypialni\w*|salon\w*|[łl]azien\w*|korytarz\w*|biur\w*|strych\w*|piwnic\w*|ogr[óo]d\w*|ogrod\w*|dom|domu|pok[óo]j|pokoj\w*|balkon\w*|taras\w*|na (?:dworze|zewn[ąa]trz|g[óo]rze|dole)|w [śs]rodku)"
)
_PL_DO = (
    r"(?:w[łl][ąa]cz|wy[łl][ąa]cz|za[śs]wie[ćc]|zapal|zga[śs]|ustaw|nastaw|zmie[ńn]|zmniejsz|zwi[ęe]ksz|podnie[śs]|podnos|opu[śs][ćc]|przyciemni|rozja[śs]ni|[śs]ciemni|otw[óo]rz|otworzy|zamkni(?:j|esz)|zamkn[ąa][ćc]|odsu[ńn]|zasu[ńn]|ods[łl]o[ńn]|zas[łl]o[ńn]|"
    r"zarygluj|odrygluj|zablokuj|odblokuj|uzbr[óo]j|rozbr[óo]j|uruch[oa]m|rozpoczni|zaczni|start\b|zatrzyma|stop\b|wstrzyma|pauza|wzn[óo]w|odtw[óo]rz|zagraj (?!m)|pu[śs][ćc]|przewi[ńn]|pomi[ńn]|wycisz|[śs]cisz|pog[łl]o[śs]ni|aktywuj|dezaktywuj|dodaj|usu[ńn]|skasuj|"
    r"wyczy[śs][ćc]|kup\b|zam[óo]w|wy[śs]lij|zadzwo[ńn]|og[łl]o[śs]|przypomnij|obud[źz]|zapami[ęe]ta|pami[ęe]taj|zanotuj|zapisz|zapomnij|nie zapomnij|naucz|odkurz|wrzu[ćc] (?!kostk|monet)|posprz[ąa]ta|podgrzej|ogrzej|sch[łl]od[źz]|podlej|zarezerwuj|zaplanuj|anuluj|nazwij|nazywaj|"
    r"zr[óo]b|id[źz]\b|jed[źz]\b|po[łl][ąa]cz|we[źz]\b|przynie[śs]|poka[żz]|przeczytaj|znajd[źz]|przestaw|przekr[ęe][ćc]|zostaw|niech\b)"
)
_PL_MADE = r"(?:[żz]art\w*|dowcip\w*|kawa[łl](?:y|[óo]w)?|histori[ęe]|histeri[ęe]|opowie[śs]\w*|opowiadani\w*|bajk\w*|wiersz\w*|rymowank\w*|zagadk\w*|ciekawostk\w*|cytat\w*|piosenk\w*|haiku|anegdot\w*|suchar\w*)"
_PL: Mapping[str, tuple[str, ...]] = {
    "correction": (
        r"^(?:nie|tak|nieprawda|prawda|b[łl][ąa]d|[źz]le|dobrze|zgadza si[ęe]|fa[łl]sz)(?:$|[,.;:!?]| (?:to|tak|ja|ty|on|ona|ten|ta|tamt\w*|o to|zgadza)\b)",
        (
            r"^(?:ale |my[śs]l[ęe],? [żz]e |chyba )*to (?:jest |by[łl]o |nie jest |nie )?(?:nieprawda|prawda|prawd[ąa]|b[łl][ąa]d|b[łl][ęe]dne|[źz]le|fa[łl]sz|bzdura|tak|to|poprawne|niepoprawne)\b|^(?:mylisz si[ęe]|pomyli[łl]\w+ si[ęe]|nie masz racji|masz racj[ęe])|"
            r"^(?:b[łl][ęe]dna|z[łl]a|niepoprawna|nieprawid[łl]owa|twoja) odpowied[źz]"
        ),
    ),
    "again": (
        r"\b(?:jeszcze raz|raz jeszcze|ponownie|znowu|zn[óo]w|od nowa)\b|^(?:powt[óo]rz|kontynuuj|dalej|s[łl]ucham|co prosz[ęe]|od[śs]wie[żz])\b|\bbez (?:cache|pami[ęe]ci podr[ęe]cznej)",
    ),
    "action": (
        rf"^(?:(?:prosz[ęe]|czy|mo[żz]esz|mo[żz]e|m[óo]g[łl]by[śs]|mog[łl]aby[śs]|chc[ęe],? [żz]eby[śs]|chcia[łl](?:a)?bym,? [żz]eby[śs]|hej|ok|okej|y+|e+|hmm|no|a|i|to|teraz|potem|potrzebuj[ęe],? [żz]eby[śs]|da si[ęe]|czy da si[ęe]|czy mo[żz]na|mi|nam|tam|tu|ju[żz]),? )*{_PL_DO}",
        r"(?:,|\bi|\ba|\boraz|\bpotem) (?:prosz[ęe] )?(?:w[łl][ąa]cz|wy[łl][ąa]cz|zapal|zga[śs]|zamknij|otw[óo]rz|ustaw|pu[śs][ćc]|zatrzymaj|dodaj|przypomnij|zapami[ęe]taj|zadzwo[ńn]|zr[óo]b|zas[łl]o[ńn])\b",
        (
            r"^(?:jestem|jeste[śs]my|mam|mamy|lubi[ęe]|nie lubi[ęe]|chc[ęe]|chcia[łl]\w+|potrzebuj[ęe]|mieszkam|nazywam|pracuj[ęe]|my[śs]l[ęe]|wol[ęe]|m[óo]j|moja|moje|moi|nasz|nasza|nasze|ja|my)\b|\b(?:zimno|ciep[łl]o|gor[ąa]co|duszno|ciemno|jasno|g[łl]o[śs]no) (?:mi|nam|tu|tutaj)\b|"
            r"\b(?:mi|nam|tu|tutaj)(?: jest)? (?:zimno|ciep[łl]o|gor[ąa]co|duszno|ciemno|jasno|g[łl]o[śs]no)\b|^(?:jest |tu |tutaj )*(?:za|zbyt) (?:zimno|ciep[łl]o|gor[ąa]co|duszno|ciemno|jasno|g[łl]o[śs]no)\b"
        ),
        r"\b(?:przypomnij mi|obud[źz] mnie|nie zapomnij|m[óo]w mi|m[óo]w do mnie)\b",
    ),
    "freshness": (
        (
            r"\b(?:teraz|obecn(?:ie|y|a|e|ym|ego|ej)|aktualn\w*|w tej chwili|w tym momencie|przed chwil[ąa]|dzi[śs]|dzisiaj|dzisiejsz\w*|jutro|jutrzejsz\w*|wczoraj|wczorajsz\w*|pojutrze|przedwczoraj|dzi[śs]?\s?rano|wieczorem|w tym (?:tygodniu|roku|miesi[ąa]cu)|w ten weekend|niedawno|"
            r"w[łl]a[śs]nie|ju[żz]|nadal|wci[ąa][żz]|zaraz|wkr[óo]tce|najnowsz\w*|ostatnio|na [żz]ywo|na bie[żz][ąa]co)\b|(?<!milion[óo]w lat )(?<!miliard[óo]w lat )(?<!tysi[ęe]cy lat )\btemu\b|\bjeszcze\b(?=$| (?:pada|jest|s[ąa]|dzia[łl]a|nie|trwa|zosta))"
        ),
        (
            r"\b(?:nast[ęe]pn(?:y|a|e|ego|ej|ym|[ąa])|przysz[łl](?:y|ym|ego|a|ej)) (?:tydzie[ńn]|tygodni\w*|rok\w*|miesi[ąa]c\w*|poci[ąa]g\w*|autobus\w*|tramwaj\w*|spotkani\w*|wizyt\w*|lot\w*|raz\w*|mecz\w*|odcinek|odcinka|weekend\w*)|"
            r"\bostatni(?:a|e|ego|ej|m|[ąa])? (?:tydzie[ńn]|tygodni\w*|rok\w*|raz\w*|mecz\w*|odcinek|wiadomo\w*|pytani\w*|odpowied\w*|wybor\w*)\b|\bzesz[łl]\w+ (?:tydzie[ńn]|tygodni\w*|rok\w*|miesi[ąa]c\w*)"
        ),
        r"\b(?:kt[óo]ra|kt[óo]rej|jaka)(?: \w+)? godzin\w*|\bkt[óo]ra godzina\b|^kt[óo]ra (?:jest|to)?\b ?(?:godzina)?$|\bo kt[óo]rej\b|\bjaki (?:\w+ )?dzie[ńn]\b(?! (?:jest )?najd)|\bjaka (?:jest )?(?:\w+ )?data\b(?! (?:bitwy|urodz|powstania|[śs]mierci|wybuchu))|\bkt[óo]ry (?:mamy|jest|to|dzisiaj|dzi[śs])\b|\bjaki (?:mamy|jest) (?:rok|miesi[ąa]c|dzie[ńn])\b|\bkt[óo]rego (?:jest|mamy)\b",
        r"\bile (?:dni|czasu|tygodni|godzin|minut|miesi[ęe]cy)\b.*\b(?:do|zosta\w*)\b|\bzosta[łl]o\b|\bile (?:mam|mamy) lat\b|\bile lat (?:mam|masz|ma m[óo]j|ma moja)\b|\bjak (?:si[ęe] masz|leci|tam)\b|\bco s[łl]ycha[ćc]\b",
        r"^(?:jaka|jak\w*|sprawd[źz]|poka[żz]|co z)\b.*\bpogod(?:a|[ęe]|y)\b|\bjaka (?:b[ęe]dzie )?pogoda\b|^pogoda\b|\bprognoz\w*|\bb[ęe]dzie (?:pada\w*|[śs]nieg|deszcz|zimno|ciep[łl]o|s[łl]o[ńn]ce|wia[ćc]|burza|gor[ąa]co)|\bczy (?:\w+ )?(?:pada|pada[łl]o|leje|wieje|grzmi|[śs]nie[żz]y|spadnie|b[ęe]dzie)\b|\b(?:pada|spadnie) (?:deszcz|[śs]nieg)\b|\bparasol\w*",
        (
            rf"\b(?:temperatur\w*|wilgotno[śs]\w*|jako[śs][ćc] powietrza)(?: jest)? (?:w (?:{_PL_THING})|na (?:dworze|zewn[ąa]trz|balkonie|tarasie|poddaszu|strychu)|tutaj|tu|u nas)\b|^jaka (?:jest )?(?:temperatura|wilgotno[śs][ćc])$|\bile (?:jest )?stopni\b(?!.*\b(?:ma k[ąa]t|celsjusza to|ma)\b)|"
            rf"\bjak (?:jest )?(?:ciep[łl]o|zimno|gor[ąa]co|jasno|ciemno|g[łl]o[śs]no|wilgotno)\b|\bczy jest (?:\w+ )?(?:ciep[łl]o|zimno|gor[ąa]co|ciemno|jasno|mokro|[śs]lisko|p[óo][źz]no)\b"
        ),
        r"\bwarunki pogodowe\b|^(?:prosz[ęe] )?(?:podaj|opisz|powiedz|sprawd[źz]|czy mo[żz]esz poda[ćc])\b.*\b(?:pogod\w*|dat[ęe]|godzin[ęe]|czas|temperatur[ęe]|wilgotno[śs][ćc]|ci[śs]nienie|pr[ęe]dko[śs][ćc] wiatru|punkt\w* rosy|jako[śs][ćc] powietrza|stan|status)\b",
        (
            r"\b(?:temperatur\w*|wilgotno[śs]\w*|ci[śs]nieni\w*|jako[śs]\w*) (?:powietrza|punktu rosy|na (?:polu|placu|dworze|podw[óo]rku))\b(?! (?:w|na) (?:marsie|szczycie))|\bci[śs]nieni\w* atmosferyczn\w*$|\bpunkt\w* rosy\b|\b(?:jak|jaka|jaki) (?:\w+ )?(?:jest )?(?:temperatura|wilgotno[śs][ćc]|poziom wilgotno[śs]ci)$|"
            r"\bjak (?:jest )?(?:ch[łl]odno|mro[źz]no|s[łl]onecznie|wietrznie)\b|\bpr[ęe]dko[śs]\w* (?:wiatru|wieje)\b|\bwieje\b|\bzachmurzeni\w*|\bwidoczno[śs][ćc]\b|\bindeks\w* uv\b|\bpoziom\w* ozonu\b|\bmamy (?:dzi[śs] )?(?:godzin[ęe]|dat[ęe]|temperatur[ęe])\b|\b(?:mamy|jak[ąa] mamy) godzin[ęe]\b|\btimer\w*|\bprzebywa\b"
        ),
        r"\b(?:jakie|s[ąa]|z|najnowsze|przeczytaj|co w) (?:s[ąa] )?wiadomo[śs]ci\w*|^wiadomo[śs]ci\b|\bnews(?:y|[óo]w)?$|\bco (?:si[ęe] )?(?:dzieje|dzia[łl]o)(?: si[ęe])?(?:$| (?:na [śs]wiecie|w polsce|u nas|tu|w domu|na dworze))|\bco nowego\b|^co si[ęe] sta[łl]o$",
        r"\bcen(?:a|y|[ęe])\b(?! (?:wolno[śs]ci|s[łl]awy))|\bile kosztuj\w+|\bkurs\w* (?:euro|dolara|franka|funta|bitcoina|akcji|walut\w*|z[łl]otego)|\bbitcoin\w*|\bakcj[ei] \w+$|\bwynik\w* (?:meczu|wybor[óo]w|losowania|lotto)|\bjaki (?:jest )?wynik$|\bkto (?:wygra[łl]|wygrywa|prowadzi)(?: (?:mecz|wybory|wczoraj|dzi[śs]))?\b(?! (?:bitw|wojn))",
        r"\bkork(?:i|ach|[óo]w)\b(?!.*\bz czego\b)|\bop[óo][źz]nie[ńn]\w*|\bop[óo][źz]nion\w*|\b(?:kiedy|o kt[óo]rej|czy|gdzie)\b.*\b(?:poci[ąa]g\w*|autobus\w*|tramwaj\w*|paczk\w*|kurier\w*|listonosz\w*|poczt\w*)\b|\b(?:zach[óo]d|wsch[óo]d) (?:s[łl]o[ńn]ca|ksi[ęe][żz]yca)\b|\b(?:zachodzi|wschodzi|wzejdzie|zajdzie) (?:s[łl]o[ńn]ce|ksi[ęe][żz]yc)\b|\bpe[łl]nia\b",
        r"\b(?:kalendarz[ua]|spotkani\w+|minutnik\w*|budzik\w*|przypomnieni\w*|list[aęyi] zakup\w*|na (?:mojej )?li[śs]cie|zada[ńn]\w*|wizyt[aęy]|plany|powiadomie\w*|e?maile?|termin(?:y|u|[óo]w)?)\b(?=.*)(?<!gregoria[ńn]skiego kalendarza)|\b(?:alarm\w*|wiadomo[śs]ci) (?:s[ąa]|mam|mamy|dzisiaj)\b|\bmam w\b|\bco mam\b|\bjakie alarmy\b",
        r"\b(?:pyta[łl](?:e|a)m|m[óo]wi[łl](?:e|a)m|powiedzia[łl](?:e|a)[mśs]\w*|m[óo]wi[łl](?:e|a)[śs]|rozmawiali[śs]my|rozmawia[łl]y[śs]my|pyta[łl](?:e|a)[śs]|prosi[łl](?:e|a)m|chcia[łl](?:e|a)m|poprzedni\w* (?:pytani\w*|odpowied\w*))\b",
        r"\b(?:kto[śs]|kto|mama|tata) (?:dzwoni[łl]?|puka[łl]?|przyszed[łl]|wr[óo]ci[łl]|by[łl]a? (?:u|tu|w domu|przy|dzi[śs]))\w*\b|\bczy kto[śs]\b|\b(?:zostawi|zamkn[ąę]|w[łl][ąa]czy|wy[łl][ąa]czy|zapomnia)[łl]?(?:e|a)m\b",
        r"^(?:dzie[ńn] dobry|dobry wiecz[óo]r|dobranoc|cze[śs][ćc]|hej|witaj|siema|do widzenia|pa|dzi[ęe]ki|dzi[ęe]kuj[ęe])\b(?: (?:bardzo|wszystkim|asystencie|jarvis|nabu))*$|\bgodzin\w* otwarcia\b|\bsprawd[źz]\b",
    ),
    "state": (
        r"\b(?:w[łl][ąa]czon\w*|wy[łl][ąa]czon\w*|zablokowan\w*|odblokowan\w*|zaryglowan\w*|uzbrojon\w*|rozbrojon\w*|zapalon\w*|zgaszon\w*|na[łl]adowan\w*|pod[łl][ąa]czon\w*|zaj[ęe]t[aey]?)\b",
        r"\b(?:jest|s[ąa]|zosta[łl]y?|ile|kt[óo]re|czy|co)\b.*\b(?:otwart\w*|zamkni[ęe]t\w*|gotow\w*|pust\w*|pe[łl]n[aeyi]\w*|w domu|obecn[aiy]|wolne|rozladowan\w*)\b(?<!jest otwarte oprogramowanie)(?! (?:to|oprogramowanie|morze))",
        rf"^(?:czy|gdzie|w jakiej|w jakim|ile|jaki|jaka|jakie|kt[óo]r\w+|co|kto|jak)\b(?! (?:dzia[łl]a|to jest|jest pr[ęe]dko[śs][ćc]|wynalaz|si[ęe] (?:czy[śs]ci|robi)|zrobi[ćc]|czy[śs]ci[ćc]|wymieni[ćc]|wybra[ćc]|ustawi[ćc]|zresetowa[ćc]))(?!.*\b(?:mo[żz]na|trzeba|autor\w*|napisa[łl]\w*|namalowa[łl]\w*|skomponowa[łl]\w*|pr[ęe]dko[śs][ćc]|wynalaz|skonstruowa|odkry|nale[żz]y|s[łl]u[żz]y)\b).*\b{_PL_THING}(?! (?:s[łl]oneczn|dzienne))\b",
        r"\b(?:czy|kiedy)\b.*\b(?:[śs]wieci|dzia[łl]a|pracuje|gra|[łl]aduje|sko[ńn]czy[łl]a?|zako[ńn]czy[łl]a?|chodzi|leci)\b(?: si[ęe])?$|\b(?:co|kto) (?:teraz )?(?:gra|leci|jest w[łl])\b(?! (?:na|w|rol[ęe]))|\bsi[ęe] [łl]aduje\b",
        r"\b(?:stan|status|poziom|zu[żz]ycie|pozycj[ai]|jasno[śs][ćc]|g[łl]o[śs]no[śs][ćc]) (?:alarmu|baterii|pr[ąa]du|wody|gazu|energii|lampy|rolet\w*|[śs]wiat[łl]a|drzwi|telefonu|zbiornika|tuszu|g[łl]o[śs]nika|telewizora|bramy|gara[żz]u)\b|^jak[aie]\w* jest (?:g[łl]o[śs]no[śs][ćc]|jasno[śs][ćc]|stan|status)$|\bile baterii\b|\bbateri[aeięy]\b.*\b(?:jest|ma|zosta\w*|s[łl]aba)\b",
        r"\bgdzie (?:jestem|jeste[śs]my|jest (?:m[óo]j|moja|moje|mama|tata)|s[ąa] (?:moje|dzieci|wszyscy|klucze))\b|\bkto (?:jest|by[łl]) (?:w|na|tu|tam|przy|u)\b|\b(?:czy )?wszystko (?:jest|wy|za|w)\w*|\b(?:mam|mamy) (?:jeszcze )?(?:mleko|chleb|jajka|kaw[ęe])\b|\b(?:widzisz|s[łl]yszysz)\b",
        r"\b(?:moja|moje|m[óo]j|nasz\w*) (?:telefon|komputer|laptop|samoch[óo]d|pralka|tablet|pies|kot)\b",
    ),
    "novelty": (
        rf"\b(?:opowiedz|powiedz|podaj|zadaj|przeczytaj|wymy[śs]l|znasz|masz|daj|poprosz[ęe]|chc[ęe]|us[łl]ysze[ćc])\b.*\b{_PL_MADE}|^(?:jak(?:i[śs]|[ąa][śs]) )?{_PL_MADE}$|\b(?:inny|inn[ąa]|nowy|now[ąa]|dobry|dobr[ąa]|[śs]mieszn\w*) {_PL_MADE}",
        r"^(?:prosz[ęe] |czy mo[żz]esz |mo[żz]esz |mi )*(?:opowiedz(?! (?:mi )?o\b)|napisz|stw[óo]rz|u[łl][óo][żz]|wymy[śs]l|wyobra[źz]|wygeneruj|improwizuj|wybierz|wylosuj|rzu[ćc]|zgadnij|zaskocz|zaproponuj|pole[ćc]|zasugeruj|zainspiruj|za[śs]piewaj|zagrajmy|narysuj|udawaj|doradz\w*|zmotywuj|rozbaw)\b",
        r"\b(?:losow\w*|przypadkow\w* (?:liczb|s[łl]ow|kolor)\w*|orze[łl] czy reszka|zaskocz|zgadnij|liczb[ęe] (?:od|mi[ęe]dzy))\b|\b(?:rzu[ćc]|rzut) (?:kostk|monet)\w*",
        r"\b(?:polecasz|poleci[łl]\w*|proponujesz|sugerujesz|wolisz|uwa[żz]asz|doradzasz|my[śs]lisz|s[ąa]dzisz)\b|\bpomys[łl]\w* (?:na|dla)\b|\b(?:masz|jaki[śs]|jakie[śs]|jakie[śs]|daj) (?:mi )?(?:pomys[łl]\w*|propozycj\w*|rad[ęe])\b",
        r"^(?:a )?co (?:(?:mam|mo[żz]emy|powinienem|powinnam|powinni[śs]my|mog[ęe]|by) )?(?:ugotowa[ćc]|zje[śs][ćc]|obejrze[ćc]|przeczyta[ćc]|robi[ćc]|zrobi[ćc]|za[łl]o[żz]y[ćc]|ubra[ćc]|kupi[ćc]|podarowa[ćc]|wybra[ćc]|porobi[ćc])\b(?! (?:je[śs]li|gdy|kiedy|w razie|przy))",
        r"\bco[śs] (?:nowego|innego|ciekawego|[śs]miesznego|na)\b|\b(?:inny|inn[ąa]|inne|nowy|now[ąa]|kolejny|kolejn[ąa]|jeszcze jed\w+) (?:przyk[łl]ad\w*|[żz]art|odpowied[źz]|wersj\w*|pomys[łl]|propozycj\w*)\b|^(?:jeszcze|wi[ęe]cej|kolejny|nast[ęe]pny|inny)\b|^co jeszcze\b|\b(?:powiedz|daj|podaj|opowiedz) (?:mi )?wi[ęe]cej\b|\bzagra(?:jmy|my)\b|\bquiz\w*",
    ),
}
# Where nothing is asked, a thing and what it is to be: "kitchen light on".
_TOLD = (
    rf"\b{_EN_THING} (?:on|off|out|up|down|open|closed|shut|louder|quieter|brighter|darker|warmer|cooler|to \d+|at \d+)\b",
    rf"\b{_FR_THING}\b.*\b(?:[àa] fond|[àa] \d+|au maximum|au minimum|plus (?:fort|bas|haut|doucement|clair|sombre)|on|off)\b",
    rf"\b{_PL_THING} (?:.*\b)?(?:na maksa|na \d+|na maksimum|ja[śs]niej|ciemniej|g[łl]o[śs]niej|ciszej|cieplej|w g[óo]r[ęe]|w d[óo][łl])\b",
)
REVIEWED: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    language: {
        reason: re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) for reason, patterns in table.items()
    }
    for language, table in (("en", _EN), ("fr", _FR), ("pl", _PL))
}
_TOLD_PATTERN = re.compile("|".join(f"(?:{pattern})" for pattern in _TOLD))
_THING = re.compile(rf"\b(?:{_EN_THING}|{_FR_THING}|{_PL_THING}|timers?|minut(?:eur|erie|nik)\w*)\b|\d ?%")
_INDIRECT = re.compile(
    r"^(?:(?:can|could|would|will) you )?(?:please )?(?:tell me|tell us|do you know|you know|any idea|have you any idea|find out|let me know|say)(?: if| whether)?,? |"
    r"^(?:dis-moi|dites-moi|dis|sais-tu|tu sais|est-ce que tu sais|savez-vous|me dire|nous dire|peux-tu me dire|tu peux me dire)(?: si| s')?,? |"
    r"^(?:czy )?(?:powiedz(?: mi)?|wiesz|(?:mi |nam )?powiedzie[ćc](?: mi| nam)?|(?:mo[żz]esz|m[óo]g[łl]by[śs]|mog[łl]aby[śs]) (?:mi )?powiedzie[ćc](?: mi)?)(?: mo[żz]e| prosz[ęe])?,? (?:czy )?"
)
_INVERTED = re.compile(r"^(what(?: \w+)??|who|where|when|how(?: \w+)?|which \w+) (.+?) (is|are|was|were)\b(.*)$")
_WORD = re.compile(r"\w+")
REASONS = tuple(_EN)
# What happened grows with every turn and every sensor's word, and no epoch tells of it.
PAST_KINDS = frozenset({"conversation", "event", "measurement"})
# How things at home stand holds for the moment it was read.
LIVE_KINDS = frozenset({"state"})
# What asks nothing and is shorter, names a thing, or is said to an assistant that has tools may be a command in words
# unknown here.
MIN_STATEMENT = 7


def why_not_look(turn: Turn, language: str, history: tuple[Message, ...]) -> str | None:
    """The reason why this turn's answer can neither come from the cache nor go into it, or None."""
    if turn.cache_control is CacheControl.NO_STORE:
        return "no-store"
    if turn.continuation or any(message.tool_calls or message.role == "tool" for message in history):
        return "tools"
    if turn.task:
        return "task"
    if language not in REVIEWED:
        return "language"
    if len(turn.utterance) > MAX_CHARACTERS:
        return "long"
    words = folded(turn.utterance)
    if not words:
        return "empty"
    if reason := _depends_on(words):
        return reason
    if _names_entity(words, turn.entities):
        return "state"
    if not is_question(turn.utterance) and (turn.tools or len(words.split()) < MIN_STATEMENT or _THING.search(words)):
        return "action"
    return None


def is_question(utterance: str) -> bool:
    """Whether `utterance` asks something, by its mark or by how it opens."""
    return utterance.rstrip().endswith("?") or asks(folded(utterance))


def why_not_store(
    turn: Turn, reply: Reply, *, recall_complete: bool, epoch: int | None, ttl_seconds: int
) -> str | None:
    """The reason why this answer may not be stored, or None. `epoch` was read before the recall."""
    if ttl_seconds == 0:
        return "disabled"
    if reply.finish != "stop" or reply.error is not None:
        return "incomplete-answer"
    if reply.tool_calls or turn.continuation:
        return "tools"
    if not reply.text.strip():
        return "empty-answer"
    if not recall_complete or reply.degraded:
        return "incomplete-recall"
    if reply.actions:
        return "action"
    if any(source.kind in LIVE_KINDS for source in reply.sources):
        return "state"
    if any(source.kind in PAST_KINDS for source in reply.sources):
        return "past"
    if epoch is None:
        return "epoch-unknown"
    return None


@lru_cache(maxsize=2048)
def _depends_on(words: str) -> str | None:
    """The reason why an answer to `words` (folded) holds for this moment only, or None.

    Both as they were said and without courtesies, in every reviewed language, not only the turn's: detection may err on
    two words, and half-English is spoken everywhere.
    """
    said = {words, courteous := plain(words)}
    if (asked := _INDIRECT.sub("", courteous)) != courteous:
        # "Tell me what the weather is like" asks "what is the weather like".
        said |= {asked, _INVERTED.sub(r"\1 \3 \2\4", asked)}
    for reason in REASONS:
        if any(patterns[reason].search(one) for patterns in REVIEWED.values() for one in said):
            return reason
    return "action" if any(not asks(one) and _TOLD_PATTERN.search(one) for one in said) else None


def _names_entity(words: str, entities: tuple[Entity, ...]) -> bool:
    """Whether every word of a thing's name or room is said, in any order, in any of its endings."""
    said = frozenset(_stems(words))
    return any(name <= said for name in _entity_names(entities))


@lru_cache(maxsize=16)
def _entity_names(entities: tuple[Entity, ...]) -> frozenset[frozenset[str]]:
    named = {frozenset(_stems(folded(name))) for entity in entities for name in (*entity.names, *entity.areas)}
    return frozenset(named - {frozenset()})


def _stems(words: str) -> Iterable[str]:
    """The words without what inflection changes: at most their last two letters, never of four or fewer."""
    return (word[: max(4, len(word) - 2)] for word in _WORD.findall(words) if word != "s")
